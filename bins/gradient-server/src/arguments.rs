//! The settings, each by flag and by environment, and documented by `--help`.

mod mail;
mod oidc;
mod s3;
mod secret;
mod tls;

use std::{net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{ArgAction, Parser};
use gradient_api::{RateLimit, RateLimitError, RateLimits, TrustedProxies};
use gradient_telemetry::Format;

use crate::commands::Command;
use mail::MailArguments;
use oidc::OidcArguments;
use s3::S3Arguments;
use tls::TlsArguments;

/// A Nix CI system with a binary cache built in. Without any setting it runs on an embedded SQLite database and a directory,
/// and makes its own secrets.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
#[expect(clippy::doc_markdown, reason = "shown by --help as they are")]
#[allow(rustdoc::invalid_html_tags, rustdoc::broken_intra_doc_links, reason = "shown by --help as they are")]
#[command(name = "gradient-server", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The address to listen on.
    #[arg(long, env = "GRADIENT_LISTEN_ADDR", value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) listen_addr: IpAddr,

    /// The port to listen on; 0 takes a free one, which is printed.
    #[arg(long, env = "GRADIENT_PORT", value_name = "PORT", default_value_t = 3000)]
    pub(crate) port: u16,

    /// Where the database, the store and the secrets are, unless they are set otherwise [default: the systemd state directory,
    /// else gradient below the XDG state directory].
    #[arg(long, env = "GRADIENT_BASE_DIR", value_name = "DIRECTORY")]
    pub(crate) base_dir: Option<PathBuf>,

    /// The database: sqlite:<path> or postgres://<user>@<host>/<database> [default: gradient.db in the base directory].
    #[arg(long, env = "GRADIENT_DATABASE_URL", value_name = "URL", hide_env_values = true, conflicts_with = "database_url_file")]
    pub(crate) database_url: Option<String>,

    /// A file that holds the database URL.
    #[arg(long, env = "GRADIENT_DATABASE_URL_FILE", value_name = "FILE")]
    pub(crate) database_url_file: Option<PathBuf>,

    /// Where people and Nix reach the server [default: http:// or https:// and the address and port it listens on].
    #[arg(long, env = "GRADIENT_SERVE_URL", value_name = "URL")]
    pub(crate) serve_url: Option<String>,

    /// Where people find the pages of this server, when they are not at the serve URL. Whoever signed in at the OpenID provider
    /// comes here, and links in mails lead to /verify-email below it, which has to pass its `token` on to
    /// /api/v1/auth/verify-email [default: mails link to the API itself].
    #[arg(long, env = "GRADIENT_FRONTEND_URL", value_name = "URL")]
    pub(crate) frontend_url: Option<String>,

    /// The file with the secret that signs sessions; made on first start [default: jwt-secret in the base directory].
    #[arg(long, env = "GRADIENT_JWT_SECRET_FILE", value_name = "FILE")]
    pub(crate) jwt_secret_file: Option<PathBuf>,

    /// The file with the secret that seals keys at rest; made on first start [default: crypt-secret in the base directory].
    #[arg(long, env = "GRADIENT_CRYPT_SECRET_FILE", value_name = "FILE")]
    pub(crate) crypt_secret_file: Option<PathBuf>,

    /// Whether anybody may register with a password.
    #[arg(long, env = "GRADIENT_ENABLE_REGISTRATION", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub(crate) enable_registration: bool,

    /// Whether repositories on this machine and in private networks may be evaluated.
    #[arg(long, env = "GRADIENT_ALLOW_LOCAL_REPOSITORIES", value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    pub(crate) allow_local_repositories: bool,

    /// Whether everybody who is signed in sees all connected workers; otherwise only superusers do.
    #[arg(long, env = "GRADIENT_GLOBAL_STATS_PUBLIC", value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    pub(crate) global_stats_public: bool,

    /// How long a job is kept for a worker whose connection is gone, in seconds.
    #[arg(long, env = "GRADIENT_LEASE_SECS", value_name = "SECONDS", default_value_t = 300)]
    pub(crate) lease_secs: u64,

    /// How long a builder may run, in seconds; 0 means as long as it likes.
    #[arg(long, env = "GRADIENT_BUILD_TIMEOUT_SECS", value_name = "SECONDS", default_value_t = 0)]
    pub(crate) build_timeout_secs: u64,

    /// How long a builder may print nothing, in seconds; 0 means as long as it likes.
    #[arg(long, env = "GRADIENT_BUILD_MAX_SILENT_SECS", value_name = "SECONDS", default_value_t = 0)]
    pub(crate) build_max_silent_secs: u64,

    /// How many bytes a builder may print.
    #[arg(long, env = "GRADIENT_BUILD_MAX_LOG_BYTES", value_name = "BYTES", default_value_t = 64 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) build_max_log_bytes: u64,

    /// How large the outputs of a build may be together, in bytes of their NARs.
    #[arg(long, env = "GRADIENT_BUILD_MAX_OUTPUT_BYTES", value_name = "BYTES", default_value_t = 64 << 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) build_max_output_bytes: u64,

    /// How often a build is tried while it fails for reasons that are not its own.
    #[arg(long, env = "GRADIENT_BUILD_MAX_ATTEMPTS", value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) build_max_attempts: u32,

    /// How many direct builds each organization keeps; older ones are removed once they have ended.
    #[arg(long, env = "GRADIENT_KEEP_DIRECT_BUILDS", value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_direct_builds: u32,

    /// The largest body of a request that is no upload, in bytes.
    #[arg(long, env = "GRADIENT_MAX_REQUEST_BYTES", value_name = "BYTES", default_value_t = 2 << 20)]
    pub(crate) max_request_bytes: usize,

    /// How long a client may take to send the head of a request or a body that is no upload, or to read a piece of an answer, in
    /// seconds. After that its connection is closed.
    #[arg(long, env = "GRADIENT_REQUEST_TIMEOUT_SECS", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) request_timeout_secs: u64,

    /// How many connections may be open at a time; each takes two file descriptors. Others wait until one of them ends.
    #[arg(long, env = "GRADIENT_MAX_CONNECTIONS", value_name = "COUNT", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,

    /// The largest NAR that is taken, in bytes, before compression.
    #[arg(long, env = "GRADIENT_MAX_UPLOAD_BYTES", value_name = "BYTES", default_value_t = 64 << 30)]
    pub(crate) max_upload_bytes: u64,

    /// How often a client may ask for what is below /api/v1/auth, such as login and registration:
    /// <requests>/<seconds>[:<burst>] or off.
    #[arg(long, env = "GRADIENT_RATE_LIMIT_AUTH", value_name = "LIMIT", default_value = "1/6:5")]
    pub(crate) rate_limit_auth: Limit,

    /// How often a client may read from a binary cache: <requests>/<seconds>[:<burst>] or off. Nix waits for minutes once it
    /// is refused.
    #[arg(long, env = "GRADIENT_RATE_LIMIT_CACHE", value_name = "LIMIT", default_value = "off")]
    pub(crate) rate_limit_cache: Limit,

    /// How often a client may look into a path in a cache: <requests>/<seconds>[:<burst>] or off.
    #[arg(long, env = "GRADIENT_RATE_LIMIT_INSPECT", value_name = "LIMIT", default_value = "60/60")]
    pub(crate) rate_limit_inspect: Limit,

    /// How often a client may read a log from a cache: <requests>/<seconds>[:<burst>] or off.
    #[arg(long, env = "GRADIENT_RATE_LIMIT_LOG", value_name = "LIMIT", default_value = "300/60")]
    pub(crate) rate_limit_log: Limit,

    /// How often a client may ask for anything else: <requests>/<seconds>[:<burst>] or off. A client is a user, with all sessions and
    /// API keys, or an address; workers are not limited.
    #[arg(long, env = "GRADIENT_RATE_LIMIT_DEFAULT", value_name = "LIMIT", default_value = "5/1:150")]
    pub(crate) rate_limit_default: Limit,

    /// The reverse proxies whose X-Forwarded-For tells the client's address: addresses and networks such as 10.0.0.0/8, with
    /// commas between them. From anywhere else it is not believed.
    #[arg(long, env = "GRADIENT_TRUSTED_PROXIES", value_name = "ADDRESSES", default_value = "")]
    pub(crate) trusted_proxies: TrustedProxies,

    /// A file with the bearer token for /metrics, which Prometheus reads; without one there is nothing at that path.
    #[arg(long, env = "GRADIENT_METRICS_TOKEN_FILE", value_name = "FILE")]
    pub(crate) metrics_token_file: Option<PathBuf>,

    /// How log lines look: human or json.
    #[arg(long, env = "GRADIENT_LOG_FORMAT", value_name = "FORMAT", default_value = "human")]
    pub(crate) log_format: Format,

    /// Which log lines there are, such as info or warn,gradient_engine=debug.
    #[arg(long, env = "GRADIENT_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,

    /// Runs a worker in the same process, with the settings that it finds in GRADIENT_WORKER_… variables.
    #[arg(long)]
    pub(crate) with_worker: bool,

    #[command(flatten)]
    pub(crate) tls: TlsArguments,

    #[command(flatten)]
    pub(crate) s3: S3Arguments,

    #[command(flatten)]
    pub(crate) mail: MailArguments,

    #[command(flatten)]
    pub(crate) oidc: OidcArguments,

    /// What to do instead of serving.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// A rate limit, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(Option<RateLimit>);

impl FromStr for Limit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" { Ok(Self(None)) } else { text.parse().map(|limit| Self(Some(limit))) }
    }
}

impl Arguments {
    pub(crate) const fn rate_limits(&self) -> RateLimits {
        RateLimits {
            auth: self.rate_limit_auth.0,
            cache: self.rate_limit_cache.0,
            inspect: self.rate_limit_inspect.0,
            log: self.rate_limit_log.0,
            default: self.rate_limit_default.0,
        }
    }
}

/// Seconds where 0 means that there is no limit.
pub(crate) const fn limit(seconds: u64) -> Option<Duration> {
    if seconds == 0 { None } else { Some(Duration::from_secs(seconds)) }
}
