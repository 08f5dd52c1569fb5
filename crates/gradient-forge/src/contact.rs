//! The temporary directory from which git asks one repository: an empty bare repository, its configuration, and the credentials,
//! which are in files because everybody on the machine can read a process's arguments.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use gradient_domain::{RepositoryKind, RepositoryUrl};
use tempfile::TempDir;
use url::Url;

use crate::{
    SshAccess,
    host::{Host, bracketed},
};

/// The longest file of known hosts that is taken back, in bytes.
const MAX_KNOWN_HOSTS: usize = 256 * 1024;

pub(crate) struct Contact {
    directory: TempDir,
    url: String,
    host: Option<Host>,
    kind: RepositoryKind,
    /// What was known before.
    known_hosts: Option<String>,
}

impl Contact {
    /// A few small files; not worth another thread.
    pub(crate) fn open(repository: &RepositoryUrl, host: Option<&Host>, access: Option<&SshAccess>) -> io::Result<Self> {
        let private = Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().prefix("gradient-git-").permissions(private).tempdir()?;
        let contact = Self {
            url: address(repository, host),
            host: host.cloned(),
            kind: repository.kind(),
            known_hosts: access.map(|access| access.known_hosts.clone()),
            directory,
        };
        fs::create_dir_all(contact.file("repository/objects"))?;
        fs::create_dir_all(contact.file("repository/refs"))?;
        contact.write("repository/HEAD", "ref: refs/heads/main\n")?;
        // Git refuses another user's repository on this machine, unless told here.
        contact.write("gitconfig", if repository.is_local() { "[safe]\n\tdirectory = *\n" } else { "" })?;
        contact.write("credentials", &credentials(repository).unwrap_or_default())?;
        contact.write("known_hosts", contact.known_hosts.as_deref().unwrap_or_default())?;
        if let Some(access) = access {
            contact.write("key", &format!("{}\n", access.private_key.expose().trim_end()))?;
        }
        contact.write("ssh_config", &contact.ssh_config(access.is_some()))?;
        contact.write("repository/config", &contact.git_config())?;
        Ok(contact)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Asks for `….git` from now on. Whether the URL was without it.
    pub(crate) fn add_suffix(&mut self) -> io::Result<bool> {
        let path = self.url.trim_end_matches('/');
        if path.to_ascii_lowercase().ends_with(".git") {
            return Ok(false);
        }
        self.url = format!("{path}.git");
        self.write("repository/config", &self.git_config())?;
        Ok(true)
    }

    /// The known hosts, when there is one more than before.
    pub(crate) fn new_known_hosts(&self) -> Option<String> {
        let known = self.known_hosts.as_ref()?;
        let now = fs::read_to_string(self.file("known_hosts")).ok()?;
        (now != *known && now.len() <= MAX_KNOWN_HOSTS).then_some(now)
    }

    /// What makes git use these files, and nothing else.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let protocol = match self.kind {
            RepositoryKind::Https => "https",
            RepositoryKind::Http => "http",
            RepositoryKind::Ssh => "ssh",
            RepositoryKind::Git => "git",
            RepositoryKind::Local => "file",
        };
        let ssh = format!("ssh -F {}", shell(&self.file("ssh_config")));
        let mut variables: Vec<(&str, OsString)> = vec![
            ("HOME", self.directory().into()),
            ("LC_ALL", "C".into()),
            ("GIT_DIR", self.file("repository").into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_CONFIG_GLOBAL", self.file("gitconfig").into()),
            ("GIT_ATTR_NOSYSTEM", "1".into()),
            ("GIT_ALLOW_PROTOCOL", protocol.into()),
            ("GIT_TERMINAL_PROMPT", "0".into()),
            ("GIT_NO_LAZY_FETCH", "1".into()),
            ("GIT_SSH_COMMAND", ssh.into()),
            ("GIT_SSH_VARIANT", "ssh".into()),
        ];
        if let (RepositoryKind::Git, Some(host)) = (self.kind, &self.host) {
            variables.push(("GIT_OVERRIDE_VIRTUAL_HOST", format!("{}:{}", host.name, host.port).into()));
        }
        variables
    }

    fn git_config(&self) -> String {
        let helper = format!("store --file={}", shell(&self.file("credentials")));
        let settings = [
            ("core", "repositoryFormatVersion", "0".to_owned()),
            ("core", "bare", "true".to_owned()),
            ("core", "hooksPath", "/dev/null".to_owned()),
            ("core", "bigFileThreshold", "1m".to_owned()),
            ("credential", "helper", helper),
            ("fetch", "unpackLimit", "1".to_owned()),
            ("pack", "threads", "1".to_owned()),
            ("http", "followRedirects", "false".to_owned()),
            (r#"remote "origin""#, "url", self.url.clone()),
        ];
        let resolve = self.host.as_ref().filter(|host| host.name.parse::<IpAddr>().is_err()).map(Host::for_curl);
        let resolve = resolve.map(|resolve| ("http", "curloptResolve", resolve));
        let line = |(section, name, value): (&str, &str, String)| {
            let value = value.replace('\\', r"\\").replace('"', "\\\"");
            format!("[{section}]\n\t{name} = \"{value}\"\n")
        };
        settings.into_iter().chain(resolve).map(line).collect()
    }

    fn ssh_config(&self, has_key: bool) -> String {
        let quoted = |name: &str| format!("\"{}\"", self.file(name).display().to_string().replace('%', "%%"));
        let identity = if has_key { quoted("key") } else { "none".to_owned() };
        let host = self.host.as_ref().map(|host| format!("HostName {}\nHostKeyAlias {}\n", host.first, host.known_as()));
        format!(
            "Host *\n\
             BatchMode yes\n\
             LogLevel ERROR\n\
             IdentityAgent none\n\
             IdentitiesOnly yes\n\
             IdentityFile {identity}\n\
             PreferredAuthentications publickey\n\
             StrictHostKeyChecking accept-new\n\
             UserKnownHostsFile {}\n\
             GlobalKnownHostsFile /dev/null\n\
             CheckHostIP no\n\
             UpdateHostKeys no\n\
             HashKnownHosts no\n\
             ClearAllForwardings yes\n\
             ForwardAgent no\n\
             {}",
            quoted("known_hosts"),
            host.unwrap_or_default(),
        )
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.file(name))?;
        file.write_all(text.as_bytes())
    }
}

/// The URL without credentials. Git's own protocol has no other way of being held to an address.
fn address(repository: &RepositoryUrl, host: Option<&Host>) -> String {
    let plain = repository.to_string();
    match (repository.kind(), host) {
        (RepositoryKind::Git, Some(host)) => match Url::parse(&plain) {
            Ok(url) => format!("git://{}:{}{}", bracketed(&host.first), host.port, url.path()),
            Err(_) => plain,
        },
        _ => plain,
    }
}

/// The line of `git credential-store` for a URL with credentials.
fn credentials(repository: &RepositoryUrl) -> Option<String> {
    if !matches!(repository.kind(), RepositoryKind::Https | RepositoryKind::Http) {
        return None;
    }
    let url = Url::parse(&repository.to_git()).ok()?;
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    if user.is_empty() && password.is_empty() {
        return None;
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{user}:{password}@{}{port}\n", url.scheme(), url.host_str()?))
}

/// A path as one word of a shell.
fn shell(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
