//! An SSH identity in files that only live as long as the fetch that needs them.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use gradient_protocol::GitAccess;
use tempfile::TempDir;

/// A private key and known hosts in a directory of their own.
#[derive(Debug)]
pub(super) struct SshIdentity {
    directory: TempDir,
    first_host_is_trusted: bool,
}

impl SshIdentity {
    /// Writes the files below `scratch`, readable by this user only.
    pub(super) fn new(scratch: &Path, access: &GitAccess) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("ssh-").tempdir_in(scratch)?;
        let key = access.ssh_private_key.trim_end();
        write(&directory.path().join("key"), &format!("{key}\n"))?;
        write(&directory.path().join("known_hosts"), &access.known_hosts)?;
        Ok(Self { directory, first_host_is_trusted: access.known_hosts.trim().is_empty() })
    }

    /// What git runs for ssh. Neither the key itself nor anything of this user's own configuration is in it.
    pub(super) fn command(&self) -> String {
        let file = |name: &str| quoted(&self.directory.path().join(name).to_string_lossy());
        let checking = if self.first_host_is_trusted { "accept-new" } else { "yes" };
        format!(
            "ssh -F none -i {key} -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes -o ConnectTimeout=30 \
             -o UserKnownHostsFile={hosts} -o GlobalKnownHostsFile=none -o StrictHostKeyChecking={checking}",
            key = file("key"),
            hosts = file("known_hosts"),
        )
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// One word for the shell that git gives the command to.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_in_a_private_file_and_nowhere_else() {
        let scratch = tempfile::tempdir().unwrap();
        let access = GitAccess { ssh_private_key: "SECRET".into(), known_hosts: String::new() };
        let identity = SshIdentity::new(scratch.path(), &access).unwrap();
        let command = identity.command();
        assert!(!command.contains("SECRET") && command.contains("StrictHostKeyChecking=accept-new"), "{command}");
        let key = identity.directory.path().join("key");
        assert_eq!(std::fs::read_to_string(&key).unwrap(), "SECRET\n");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        drop(identity);
        assert!(!key.exists());
    }

    #[test]
    fn hosts_that_are_known_are_compared() {
        let scratch = tempfile::tempdir().unwrap();
        let access = GitAccess { ssh_private_key: "k".into(), known_hosts: "example.org ssh-ed25519 AAAA".into() };
        let identity = SshIdentity::new(scratch.path(), &access).unwrap();
        assert!(identity.command().contains("StrictHostKeyChecking=yes"));
    }

    #[test]
    fn paths_are_one_word() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
