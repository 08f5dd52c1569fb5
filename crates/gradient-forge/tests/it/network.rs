use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use gradient_forge::{Forge, ForgeError, SshAccess, ssh_key};

use crate::repository::{Repository, forge, path_with, script, settings};

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // The daemon proper is a child of `git`; both are in a group of their own.
        let _ = Command::new("kill").args(["-9", "--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

fn daemon(repository: &Repository) -> (Daemon, u16) {
    use std::os::unix::process::CommandExt;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("git");
    command
        .args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", &format!("--port={port}")])
        .arg(format!("--interpolated-path={}/%D", repository.path().parent().unwrap().display()))
        .arg(repository.path().parent().unwrap())
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .process_group(0)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let daemon = Daemon(command.spawn().unwrap());
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "git daemon does not listen");
        thread::yield_now();
    }
    (daemon, port)
}

#[tokio::test]
async fn over_gits_own_protocol() {
    let repository = Repository::new();
    let (_daemon, port) = daemon(&repository);
    let name = repository.path().file_name().unwrap().to_str().unwrap();
    let url = format!("git://localhost:{port}/{name}").parse().unwrap();
    let head = forge().head(&url, None, None).await.unwrap();
    assert_eq!((head.hash, &*head.message), (repository.hash("main"), "second\n\nwith a body"));
    let first = repository.hash("main~1");
    assert_eq!(forge().commit(&url, &first, None).await.unwrap().message, "first");
    let error = forge().head(&format!("git://localhost:{port}/gone").parse().unwrap(), None, None).await.unwrap_err();
    assert!(matches!(error, ForgeError::Unreachable { .. }), "{error:?}");
}

/// Answers `GET` from a directory, as the simplest forge does: for whom it knows, and only where the name ends in `.git`.
fn web(directory: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = answer(&stream.unwrap(), &directory);
        }
    });
    port
}

fn answer(mut stream: &TcpStream, directory: &std::path::Path) -> std::io::Result<()> {
    let lines: Vec<String> = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let target = lines[0].split(' ').nth(1).unwrap().split('?').next().unwrap();
    // user:p@ss
    let known = lines.iter().any(|line| line.eq_ignore_ascii_case("authorization: basic dXNlcjpwQHNz"));
    let file = target.strip_prefix("/repository.git/").map(|file| directory.join(file));
    let (status, body) = match (known, file) {
        (_, None) => ("301 Moved Permanently\r\nLocation: http://127.0.0.1:1/", Vec::new()),
        (false, _) => ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", Vec::new()),
        (true, Some(file)) => fs::read(file).map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body)),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

#[tokio::test]
async fn over_http_with_credentials_and_without_the_suffix() {
    let repository = Repository::new();
    repository.git(&["update-server-info"]);
    let port = web(repository.path().join(".git"));
    for name in ["repository.git", "repository"] {
        let url = format!("http://user:p%40ss@localhost:{port}/{name}").parse().unwrap();
        let head = forge().head(&url, Some("main"), None).await.unwrap();
        // Plain files cannot be asked for a single commit.
        assert_eq!((head.hash, &*head.message), (repository.hash("main"), ""));
    }
    for user in ["user:wr0ng@", ""] {
        let url = format!("http://{user}127.0.0.1:{port}/repository.git").parse().unwrap();
        let error = forge().head(&url, None, None).await.unwrap_err();
        let ForgeError::Unreachable { words } = &error else { panic!("{error:?}") };
        assert!(words.contains("fatal: ") && !words.contains("wr0ng"), "{words}");
    }
    let error = forge().head(&format!("http://127.0.0.1:{port}/moved.git").parse().unwrap(), None, None).await.unwrap_err();
    assert!(matches!(&error, ForgeError::Unreachable { words } if words.contains("301")), "{error:?}");
}

#[tokio::test]
async fn over_ssh_with_the_organizations_key() {
    let repository = Repository::new();
    let directory = tempfile::tempdir().unwrap();
    // Takes the place of ssh: checks what it was given, meets the host for the first time, and does what the far side does.
    script(
        directory.path(),
        "ssh",
        r#"
            [ "$1" = -F ] || exit 9
            value() { sed -n "s/^$1 \"\{0,1\}\([^\"]*\)\"\{0,1\}$/\1/p" "$config"; }
            config=$2
            cp "$config" "$(dirname "$0")/config"
            ssh-keygen -y -f "$(value IdentityFile)" > "$(dirname "$0")/public" || exit 8
            grep -q "^git.example.org " "$(value UserKnownHostsFile)" || echo "$(value HostKeyAlias) met" >> "$(value UserKnownHostsFile)"
            for command; do :; done
            eval "exec $command"
        "#,
    );
    let forge = Forge::new(settings().with_environment([path_with(directory.path())]));
    let pair = ssh_key::generate("acme").unwrap();
    let mut access = SshAccess { private_key: pair.private_openssh, known_hosts: String::new() };
    let url = format!("ssh://git@127.0.0.1:2222{}", repository.path().display()).parse().unwrap();
    let head = forge.head(&url, Some("main"), Some(&access)).await.unwrap();
    assert_eq!((head.hash, &*head.message), (repository.hash("main"), "second\n\nwith a body"));
    let met = head.known_hosts.unwrap();
    assert!(met.lines().all(|line| line == "[127.0.0.1]:2222 met"), "{met}");

    access.known_hosts = "git.example.org met\n".into();
    let url = format!("git@127.0.0.1:{}", repository.path().display()).parse().unwrap();
    assert_eq!(forge.head(&url, None, Some(&access)).await.unwrap().known_hosts, None);

    let config = fs::read_to_string(directory.path().join("config")).unwrap();
    for line in ["BatchMode yes", "StrictHostKeyChecking accept-new", "HostName 127.0.0.1", "HostKeyAlias 127.0.0.1"] {
        assert!(config.lines().any(|found| found == line), "{line}: {config}");
    }
    let public = fs::read_to_string(directory.path().join("public")).unwrap();
    assert!(public.trim().starts_with(pair.public_line.trim_end_matches(" acme")), "{public}");
}

#[test]
fn ssh_itself_takes_the_configuration() {
    // `ssh -G` reads a configuration and prints what it makes of it; the file is the one that git is given.
    let directory = tempfile::tempdir().unwrap();
    script(directory.path(), "ssh", "cp \"$2\" \"$(dirname \"$0\")/config\"; exit 1");
    let forge = Forge::new(settings().with_environment([path_with(directory.path())]));
    let access = SshAccess { private_key: ssh_key::generate("acme").unwrap().private_openssh, known_hosts: String::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = "ssh://git@[::1]:2222/x".parse().unwrap();
    runtime.block_on(forge.head(&url, None, Some(&access))).unwrap_err();
    let output = Command::new("ssh").args(["-G", "-F"]).arg(directory.path().join("config")).arg("git@x").output().unwrap();
    let (read, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}");
    for line in
        ["hostname ::1", "hostkeyalias [::1]:2222", "batchmode yes", "stricthostkeychecking accept-new", "identitiesonly yes"]
    {
        assert!(read.lines().any(|found| found == line), "{line}: {read}");
    }
}
