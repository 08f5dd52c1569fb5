//! The settings, each by flag and by environment, and documented by `--help`.

use std::{ffi::OsString, num::NonZeroU64, path::PathBuf};

use clap::{ArgAction, Parser};
use gradient_domain::WorkerId;
use gradient_telemetry::Format;

use crate::command_line::sentence;

/// A worker of a Gradient server: fetches flakes, evaluates them and builds derivations with the Nix of this machine, whose own
/// settings (nix.conf, `NIX_CONF_DIR`) it respects.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
#[expect(clippy::doc_markdown, reason = "shown by --help as they are")]
#[allow(rustdoc::invalid_html_tags, reason = "shown by --help as they are")]
#[command(name = "gradient-worker", version, max_term_width = 100)]
pub struct Arguments {
    /// The server's socket, such as wss://ci.example.org/proto.
    #[arg(long, env = "GRADIENT_WORKER_SERVER_URL", value_name = "URL")]
    pub server_url: Option<String>,

    /// The worker's id, a UUID of version 4 [default: made once and kept in worker-id in the base directory].
    #[arg(long, env = "GRADIENT_WORKER_ID", value_name = "UUID")]
    pub id: Option<WorkerId>,

    /// Where the worker keeps its id and its temporary files [default: the systemd state directory, else
    /// /var/lib/gradient-worker where it may write there, else gradient-worker below the XDG state directory].
    #[arg(long, env = "GRADIENT_WORKER_BASE_DIR", value_name = "DIRECTORY")]
    pub base_dir: Option<PathBuf>,

    /// The file that says whom the worker serves: lines of the form <peer id>:<token>, or *:<token> for any peer
    /// [default: peers in the base directory].
    #[arg(long, env = "GRADIENT_WORKER_PEERS_FILE", value_name = "FILE")]
    pub peers_file: Option<PathBuf>,

    /// Whether each organization has a Nix store of its own, below stores in the base directory, so that the worker can serve
    /// several; needs Nix's sandbox. Otherwise it uses the machine's store and serves one.
    #[arg(long, env = "GRADIENT_WORKER_SEPARATE_STORES", value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    pub separate_stores: bool,

    /// Whether it fetches sources.
    #[arg(long, env = "GRADIENT_WORKER_CAPABILITIES_FETCH", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub capabilities_fetch: bool,

    /// Whether it evaluates flakes.
    #[arg(long, env = "GRADIENT_WORKER_CAPABILITIES_EVAL", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub capabilities_eval: bool,

    /// Whether it builds derivations.
    #[arg(long, env = "GRADIENT_WORKER_CAPABILITIES_BUILD", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub capabilities_build: bool,

    /// Whether it signs for caches whose key is not on the server, with the keys of its signing key file.
    #[arg(long, env = "GRADIENT_WORKER_CAPABILITIES_SIGN", value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    pub capabilities_sign: bool,

    /// The file of the secret keys that it signs with, each a line as nix-store --generate-binary-cache-key writes it.
    #[arg(long, env = "GRADIENT_WORKER_SIGNING_KEY_FILE", value_name = "FILE")]
    pub signing_key_file: Option<PathBuf>,

    /// How many builds run at once [default: as many as the machine has cores].
    #[arg(long, env = "GRADIENT_WORKER_MAX_CONCURRENT_BUILDS", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub max_concurrent_builds: Option<u32>,

    /// The systems it builds for, separated by commas [default: those of its Nix].
    #[arg(long, env = "GRADIENT_WORKER_SYSTEMS", value_name = "LIST", value_delimiter = ',')]
    pub systems: Option<Vec<String>>,

    /// The system features it has, separated by commas [default: those of its Nix].
    #[arg(long, env = "GRADIENT_WORKER_SYSTEM_FEATURES", value_name = "LIST", value_delimiter = ',')]
    pub system_features: Option<Vec<String>>,

    /// How many evaluator processes run at once [default: as many as the machine has cores, but no more than one for each 4 GiB
    /// of its memory, nor than 4].
    #[arg(long, env = "GRADIENT_WORKER_EVAL_PROCESSES", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub eval_processes: Option<u32>,

    /// How much memory each evaluator may have, in bytes, swapped out or not; one that needs more goes on in a new process
    /// [default: three quarters of the machine's memory for all].
    #[arg(long, env = "GRADIENT_WORKER_EVAL_MEMORY_BYTES", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(67_108_864..))]
    pub eval_memory_bytes: Option<u64>,

    /// How long an evaluation may take, in seconds, four hours at most.
    #[arg(long, env = "GRADIENT_WORKER_EVAL_TIMEOUT_SECS", value_name = "SECONDS", default_value_t = 14_400, value_parser = clap::value_parser!(u64).range(1..=14_400))]
    pub eval_timeout_secs: u64,

    /// How long one attribute may take to evaluate, in seconds, with what has to be built for that.
    #[arg(long, env = "GRADIENT_WORKER_EVAL_ATTRIBUTE_TIMEOUT_SECS", value_name = "SECONDS", default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=14_400))]
    pub eval_attribute_timeout_secs: u64,

    /// The nix-eval-jobs that evaluates large sets of attributes; empty for none [default: the one in PATH, if any].
    #[arg(long, env = "GRADIENT_WORKER_NIX_EVAL_JOBS", value_name = "PROGRAM")]
    pub nix_eval_jobs: Option<OsString>,

    /// How much memory has to be free for the worker to take anything new, in bytes.
    #[arg(long, env = "GRADIENT_WORKER_MIN_FREE_MEMORY_BYTES", value_name = "BYTES", default_value_t = 128 << 20)]
    pub min_free_memory_bytes: u64,

    /// How much space has to be free where the Nix store is, in bytes.
    #[arg(long, env = "GRADIENT_WORKER_MIN_FREE_DISK_BYTES", value_name = "BYTES", default_value_t = 1 << 30)]
    pub min_free_disk_bytes: u64,

    /// How long a builder may run at most, in seconds, whatever the server says and a flake asks for [default: as long as they say].
    #[arg(long, env = "GRADIENT_WORKER_MAX_BUILD_TIMEOUT_SECS", value_name = "SECONDS")]
    pub max_build_timeout_secs: Option<NonZeroU64>,

    /// How long a builder may print nothing at most, in seconds, likewise [default: as long as they say].
    #[arg(long, env = "GRADIENT_WORKER_MAX_BUILD_SILENT_SECS", value_name = "SECONDS")]
    pub max_build_silent_secs: Option<NonZeroU64>,

    /// How long jobs may go on after SIGTERM, in seconds; 0 means as long as they like.
    #[arg(long, env = "GRADIENT_WORKER_DRAIN_SECS", value_name = "SECONDS", default_value_t = 600)]
    pub drain_secs: u64,

    /// Where the programs of Nix are [default: in PATH].
    #[arg(long, env = "GRADIENT_WORKER_NIX_DIR", value_name = "DIRECTORY")]
    pub nix_dir: Option<PathBuf>,

    /// How log lines look: human or json.
    #[arg(long, env = "GRADIENT_LOG_FORMAT", value_name = "FORMAT", default_value = "human")]
    pub log_format: Format,

    /// Which log lines there are, such as info or warn,gradient_executor=debug.
    #[arg(long, env = "GRADIENT_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

impl Arguments {
    /// The settings of the environment alone; the error is one sentence.
    pub fn from_environment() -> Result<Self, String> {
        Self::try_parse_from(["gradient-worker"]).map_err(|error| sentence::<Self>(&error))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_wrong_value_is_one_sentence_that_names_the_flag() {
        let error = Arguments::try_parse_from(["gradient-worker", "--max-concurrent-builds", "many"]).unwrap_err();
        let text = sentence::<Arguments>(&error);
        assert!(text.starts_with("GRADIENT_WORKER_MAX_CONCURRENT_BUILDS: "), "{text}");
        assert!(text.contains("'many' for '--max-concurrent-builds <COUNT>'") && !text.contains('\n'), "{text}");
        let error = Arguments::try_parse_from(["gradient-worker", "--id", "me"]).unwrap_err();
        assert!(sentence::<Arguments>(&error).contains("expected a UUID"), "{}", sentence::<Arguments>(&error));
    }
}
