//! A real SSH server for one test, with keys and settings of its own, that serves git repositories of this machine.

use std::{
    ffi::OsStr,
    fs, io,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// It listens within milliseconds; this is for slow machines.
const START: Duration = Duration::from_secs(30);

/// A running `sshd` that lets the test's own user in, with the keys that it is told, to use git and nothing else.
#[derive(Debug)]
pub struct SshServer {
    folder: TempDir,
    program: PathBuf,
    port: u16,
    process: Child,
}

impl SshServer {
    /// Starts it on a free port; nobody is let in yet.
    pub fn start() -> io::Result<Self> {
        let program =
            ["/usr/sbin/sshd", "/run/current-system/sw/bin/sshd"].map(PathBuf::from).into_iter().find(|at| at.is_file());
        let program = program.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no sshd: install openssh-server"))?;
        let folder = tempfile::Builder::new().prefix("gradient-sshd-").tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        fs::write(folder.path().join("authorized_keys"), "")?;
        fs::write(folder.path().join("sshd_config"), config(folder.path(), port))?;
        make_host_key(folder.path())?;
        // Its package makes this at the start of the system, which a container does not have.
        let _ = fs::create_dir_all("/run/sshd");
        let process = spawn(&program, folder.path())?;
        let mut server = Self { folder, program, port, process };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    /// Lets the holders of these keys in, and nobody else: lines as in `~/.ssh/authorized_keys`.
    pub fn authorize(&self, keys: &[&str]) -> io::Result<()> {
        fs::write(self.folder.path().join("authorized_keys"), keys.join("\n") + "\n")
    }

    /// The URL of a repository of this machine.
    pub fn url(&self, repository: &Path) -> io::Result<String> {
        let user = Command::new("id").arg("-un").output()?.stdout;
        let user = String::from_utf8_lossy(&user).trim().to_owned();
        Ok(format!("ssh://{user}@127.0.0.1:{}{}", self.port, repository.display()))
    }

    /// Ends, and comes back at the same place with another host key, as an impostor would.
    pub fn change_host_key(&mut self) -> io::Result<()> {
        self.stop();
        make_host_key(self.folder.path())?;
        self.process = spawn(&self.program, self.folder.path())?;
        self.wait_until_it_listens()
    }

    fn wait_until_it_listens(&mut self) -> io::Result<()> {
        let end = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let is_over = self.process.try_wait()?.is_some() || Instant::now() > end;
            if is_over {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("sshd does not listen: {log}")));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn config(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n\
         PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\nPermitTTY no\nDisableForwarding yes\nMaxStartups 100\n\
         ForceCommand git-shell -c \"$SSH_ORIGINAL_COMMAND\"\n"
    )
}

/// A new host key in place of the one that is there.
fn make_host_key(folder: &Path) -> io::Result<()> {
    let key = folder.join("host_key");
    let _ = fs::remove_file(&key);
    let arguments =
        [OsStr::new("-q"), "-t".as_ref(), "ed25519".as_ref(), "-N".as_ref(), "".as_ref(), "-f".as_ref(), key.as_ref()];
    let status = Command::new("ssh-keygen").args(arguments).stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("ssh-keygen failed")) }
}

fn spawn(program: &Path, folder: &Path) -> io::Result<Child> {
    let log = fs::File::create(folder.join("log"))?;
    let mut command = Command::new(program);
    command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
}
