//! Real Nix in a store of its own: a directory that holds everything, gone when the test ends.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// The Nix programs to test with: those in `PATH`, and those below `/opt/nix`. None is an error: these tests are not skipped.
pub fn installations() -> io::Result<Vec<Installation>> {
    let mut found = Vec::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path).find(|folder| folder.join("nix-daemon").exists()));
    if let Ok(others) = fs::read_dir("/opt/nix") {
        let folders = others.flatten().map(|entry| entry.path().join("bin"));
        found.extend(folders.filter(|folder| folder.join("nix-daemon").exists()));
    }
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no Nix: install nix-bin (or run `cargo xtask test`)"));
    }
    Ok(found.into_iter().map(|bin| Installation { bin }).collect())
}

/// One version of Nix.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Where its programs are.
    pub bin: PathBuf,
}

impl Installation {
    /// One of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// A store below a directory of its own, with the settings and caches of one client. Builds there are sandboxed; `/bin` in the
/// sandbox is busybox. The store directory is `/nix/store`, so paths are the same as everywhere.
#[derive(Debug)]
pub struct Store {
    home: TempDir,
}

/// The tools that a builder in the sandbox has.
const APPLETS: &[&str] = &[
    "sh", "cat", "chmod", "cp", "echo", "false", "ln", "ls", "mkdir", "mv", "printf", "rm", "sed", "seq", "sleep", "touch", "tr",
    "true", "wc",
];

impl Store {
    /// An empty store. `settings` are further lines of nix.conf.
    pub fn new(settings: &str) -> io::Result<Self> {
        let home = TempDir::new()?;
        let bin = home.path().join("bin");
        fs::create_dir(&bin)?;
        fs::copy("/usr/bin/busybox", bin.join("busybox"))
            .map_err(|error| io::Error::new(error.kind(), "no /usr/bin/busybox: install busybox-static"))?;
        for applet in APPLETS {
            symlink("busybox", bin.join(applet))?;
        }
        fs::create_dir(home.path().join("conf"))?;
        fs::create_dir(home.path().join("root"))?;
        let conf = format!(
            "experimental-features = nix-command flakes\nbuild-users-group =\nsandbox = true\nsandbox-fallback = false\n\
             sandbox-paths = /bin={}\nsubstituters =\nflake-registry =\nmax-jobs = 2\n\
             system-features = nixos-test benchmark big-parallel\n{settings}\n",
            bin.display()
        );
        fs::write(home.path().join("conf/nix.conf"), conf)?;
        Ok(Self { home })
    }

    /// The directory that the store is below.
    pub fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }

    /// A directory for what the test needs besides.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The environment that makes Nix's programs use this store and nothing of the machine's.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let home = self.home.path();
        let mut environment = vec![
            ("NIX_REMOTE".into(), self.root().into_os_string()),
            ("NIX_CONF_DIR".into(), home.join("conf").into_os_string()),
            ("HOME".into(), home.as_os_str().to_owned()),
        ];
        for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"] {
            environment.push((name.into(), home.join(name).into_os_string()));
        }
        environment
    }

    /// One of Nix's programs on this store.
    pub fn command(&self, nix: &Installation, program: &str) -> Command {
        let mut command = Command::new(nix.program(program));
        command.envs(self.environment());
        command
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Store paths are read-only, which keeps even their owner from removing directories.
        let _ = Command::new("chmod").args(["-R", "u+w"]).arg(self.home.path()).status();
    }
}
