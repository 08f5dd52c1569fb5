use std::{ffi::OsString, path::PathBuf, time::Duration};

use gradient_domain::Secret;

/// What of the process's environment git may need: where programs and certificates are, and the way out of the network.
const PASSED_ON: [&str; 12] = [
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NIX_SSL_CERT_FILE",
    "GIT_SSL_CAINFO",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// How repositories are reached.
#[derive(Debug, Clone)]
pub struct ForgeSettings {
    /// The git program; 2.37 or later.
    pub git: PathBuf,
    /// Whether repositories may be on this machine or on a private network.
    pub allow_local: bool,
    /// How long one question may take, from its beginning to its end.
    pub timeout: Duration,
    /// The environment of git, besides what it is given for each repository. See [`with_environment`](Self::with_environment).
    pub environment: Vec<(OsString, OsString)>,
}

impl Default for ForgeSettings {
    /// `git` from the usual places, no local repositories, ten seconds.
    fn default() -> Self {
        let path = "/usr/local/bin:/usr/bin:/bin:/run/current-system/sw/bin";
        Self {
            git: "git".into(),
            allow_local: false,
            timeout: Duration::from_secs(10),
            environment: vec![("PATH".into(), path.into())],
        }
    }
}

impl ForgeSettings {
    /// Passes on to git what it may need of a process's environment (the search path, certificates, proxies), and nothing else.
    #[must_use]
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        for (name, value) in variables {
            if PASSED_ON.iter().any(|passed_on| name == *passed_on) {
                self.environment.retain(|(known, _)| *known != name);
                self.environment.push((name, value));
            }
        }
        self
    }
}

/// What an organization has for `ssh`.
#[derive(Debug, Clone)]
pub struct SshAccess {
    /// Its private key in OpenSSH's format.
    pub private_key: Secret<String>,
    /// The host keys that it knows, as in `~/.ssh/known_hosts`. A host that is not in it is taken for what it says, once; one that
    /// has another key than before is refused.
    pub known_hosts: String,
}
