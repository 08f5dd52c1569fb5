//! What the engine can be set to.

use std::{path::PathBuf, time::Duration};

use gradient_auth::oidc::OidcSettings;

use crate::MailSettings;

/// Settings of the engine; where they come from is the binary's business.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct EngineSettings {
    /// Where people and Nix reach the server, without a slash at the end, such as `https://gradient.example.com`.
    pub serve_url: String,
    /// Where people find the pages of this server, if not at `serve_url`.
    pub frontend_url: Option<String>,
    /// Whether anybody may register.
    pub enable_registration: bool,
    /// The mail server.
    pub mail: Option<MailSettings>,
    /// Whether users have to prove their addresses, where there is a mail server.
    pub require_email_verification: bool,
    /// How long after a mail to an address another one may follow.
    pub email_pause: Duration,
    /// The OpenID provider.
    pub oidc: Option<OidcSettings>,
    /// Whether people sign in there only.
    pub oidc_required: bool,
    /// Whether repositories on this machine and in private networks may be evaluated.
    pub allow_local_repositories: bool,
    /// Whether everybody who is signed in may see all connected workers.
    pub global_stats_public: bool,
    /// How long a job is kept for a worker whose connection is gone.
    pub lease: Duration,
    /// How often a build is tried while it fails for reasons that are not its own.
    pub build_max_attempts: u32,
    /// How long a builder may run.
    pub build_timeout: Option<Duration>,
    /// How long a builder may print nothing.
    pub build_max_silent: Option<Duration>,
    /// How much a builder may print.
    pub max_log_bytes: u64,
    /// How large the NARs of all outputs of a build may be together.
    pub max_output_bytes: u64,
    /// How large an uploaded NAR may be once it is decompressed.
    pub max_nar_bytes: u64,
    /// How many evaluations of direct builds each organization keeps, at least 1.
    pub keep_direct_builds: u32,
    /// The git program.
    pub git: PathBuf,
    /// How long a repository may take to answer.
    pub repository_timeout: Duration,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            serve_url: "http://127.0.0.1:3000".into(),
            frontend_url: None,
            enable_registration: true,
            mail: None,
            require_email_verification: false,
            email_pause: Duration::from_mins(1),
            oidc: None,
            oidc_required: false,
            allow_local_repositories: false,
            global_stats_public: false,
            lease: Duration::from_mins(5),
            build_max_attempts: 5,
            build_timeout: None,
            build_max_silent: None,
            max_log_bytes: 64 << 20,
            max_output_bytes: 64 << 30,
            max_nar_bytes: 64 << 30,
            keep_direct_builds: 50,
            git: "git".into(),
            repository_timeout: Duration::from_secs(10),
        }
    }
}
