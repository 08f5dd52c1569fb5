//! The Nix of this machine: its programs, its version, and what its settings say it can build.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::Duration,
};

use gradient_nix::{STORE_DIR, StorePath, derivation::CA_DERIVATIONS};
use serde_json::Value;
use thiserror::Error;
use tokio::process::Command;

use crate::process::{self, Limits, ProcessError};

/// What every call of a Nix program needs, whatever the machine's settings are.
const FEATURES: [&str; 2] = ["--extra-experimental-features", "nix-command flakes"];

const ASK: Limits = Limits { time: Duration::from_mins(1), stdout_bytes: 8 << 20 };

/// The Nix programs that a worker uses. Its settings (`nix.conf`, `NIX_CONF_DIR`, …) are the machine's own.
#[derive(Debug, Clone)]
pub struct Nix {
    programs: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    version: String,
    systems: Vec<String>,
    features: Vec<String>,
    cores: u64,
    sandboxed: bool,
}

/// Why there is no Nix to work with.
#[derive(Debug, Error)]
pub enum NixError {
    /// A program is not there, or fails.
    #[error("Nix does not answer: {0}")]
    Process(#[from] ProcessError),
    /// It says something unexpected.
    #[error("cannot read the settings of Nix: {0}")]
    Settings(&'static str),
}

impl Nix {
    /// Asks the Nix programs in `programs`, or those in `PATH`, what they are. `environment` is set for all of them, on top of
    /// what this process has; a `NIX_REMOTE` other than the machine's own store must be in it.
    pub async fn discover(programs: Option<PathBuf>, environment: Vec<(OsString, OsString)>) -> Result<Self, NixError> {
        let mut nix = Self {
            programs,
            environment,
            version: String::new(),
            systems: Vec::new(),
            features: Vec::new(),
            cores: 0,
            sandboxed: false,
        };
        let mut version = nix.command("nix");
        version.arg("--version");
        nix.version = parse_version(&String::from_utf8_lossy(&process::run(version, ASK).await?));
        let settings = nix.settings().await?;
        nix.systems = settings.systems;
        nix.features = settings.features;
        nix.cores = settings.cores;
        nix.sandboxed = settings.sandboxed;
        Ok(nix)
    }

    /// Its version, such as `2.8.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The systems it builds for: its own, then the extra platforms.
    pub fn systems(&self) -> &[String] {
        &self.systems
    }

    /// The system features it has.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// Whether its settings keep builders from the machine and from each other.
    pub fn is_sandboxed(&self) -> bool {
        self.sandboxed
    }

    /// The same with the store that has this root, and its caches in this directory.
    pub(crate) fn in_store(&self, root: &Path, caches: &Path) -> Self {
        let mut nix = self.clone();
        nix.environment.push(("NIX_REMOTE".into(), root.into()));
        nix.environment.push(("XDG_CACHE_HOME".into(), caches.into()));
        nix
    }

    /// How many processor cores its settings let one build use; 0 means all.
    pub(crate) fn cores(&self) -> u64 {
        self.cores
    }

    /// A call of one of its programs, or of another one that takes the same settings and is named by its path; to be given
    /// arguments.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let program = program.as_ref();
        let path = match &self.programs {
            Some(directory) => directory.join(program).into_os_string(),
            None => program.to_owned(),
        };
        let mut command = Command::new(path);
        // With it, Nix would write its log lines for a journal.
        command.env_remove("IN_SYSTEMD").envs(self.environment.iter().map(|(name, value)| (name, value)));
        // Nobody is there to answer when git asks for a password.
        command.env("GIT_TERMINAL_PROMPT", "0");
        command.args(FEATURES).kill_on_drop(true);
        command
    }

    /// Where the bytes of a path of the store are.
    pub fn real_path(&self, path: &StorePath) -> PathBuf {
        self.store_root().unwrap_or(Path::new("/")).join(STORE_DIR.trim_start_matches('/')).join(path.to_string())
    }

    /// Where the store is, when it has a root of its own; its paths are the same, but not on the disk.
    pub(crate) fn store_root(&self) -> Option<&Path> {
        let remote = self.environment.iter().rev().find(|(name, _)| name == "NIX_REMOTE");
        remote.map(|(_, value)| Path::new(value)).filter(|value| value.is_absolute())
    }

    /// Whether its version is this one or a newer one.
    pub(crate) fn is_at_least(&self, version: (u32, u32)) -> bool {
        let mut numbers = self.version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= version
    }

    async fn settings(&self) -> Result<Settings, NixError> {
        let mut newer = self.command("nix");
        newer.args(["config", "show", "--json"]);
        let answer = match process::run(newer, ASK).await {
            Ok(answer) => answer,
            Err(ProcessError::Failed { .. }) => {
                let mut older = self.command("nix");
                older.args(["show-config", "--json"]);
                process::run(older, ASK).await?
            }
            Err(error) => return Err(error.into()),
        };
        Settings::parse(&answer)
    }

    /// Runs one of its programs with arguments.
    pub(crate) async fn run<I, S>(&self, program: &str, arguments: I, limits: Limits) -> Result<Vec<u8>, ProcessError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = self.command(program);
        command.args(arguments);
        process::run(command, limits).await
    }
}

#[derive(Debug, PartialEq)]
struct Settings {
    systems: Vec<String>,
    features: Vec<String>,
    cores: u64,
    sandboxed: bool,
}

impl Settings {
    /// Reads what `nix config show --json` prints.
    fn parse(json: &[u8]) -> Result<Self, NixError> {
        let all: BTreeMap<String, Value> =
            serde_json::from_slice(json).map_err(|_| NixError::Settings("they are not a JSON object"))?;
        let value = |name: &str| all.get(name).and_then(|setting| setting.get("value"));
        let system = value("system").and_then(Value::as_str).ok_or(NixError::Settings("`system` is missing"))?;
        let mut systems = vec![system.to_owned()];
        for extra in words(value("extra-platforms")) {
            if !systems.contains(&extra) {
                systems.push(extra);
            }
        }
        let mut features = words(value("system-features"));
        // Of those that are not a machine's but Nix's own, this is one that derivations need.
        if has_ca_derivations(value("experimental-features")) {
            features.push(CA_DERIVATIONS.to_owned());
        }
        features.sort_unstable();
        features.dedup();
        let cores = value("cores").and_then(Value::as_u64).unwrap_or(0);
        let sandboxed = value("sandbox").is_some_and(|value| value.as_bool() == Some(true) || value.as_str() == Some("true"));
        Ok(Self { systems, features, cores, sandboxed })
    }
}

/// Whether the feature is among those that are on. Nix 2.8 writes them as numbers, of which this one's is the first.
fn has_ca_derivations(value: Option<&Value>) -> bool {
    let numbers = value.and_then(Value::as_array).into_iter().flatten();
    words(value).iter().any(|feature| feature == CA_DERIVATIONS) || numbers.filter_map(Value::as_u64).any(|number| number == 0)
}

/// A list setting: an array, or words in one text.
fn words(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// `nix (Nix) 2.8.0` → `2.8.0`.
fn parse_version(text: &str) -> String {
    text.split_whitespace().last().unwrap_or("unknown").chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_in_both_shapes() {
        let arrays = br#"{"system":{"value":"x86_64-linux"},"extra-platforms":{"value":["i686-linux","x86_64-linux"]},
            "system-features":{"value":["kvm","big-parallel"]},"cores":{"value":4},
            "experimental-features":{"value":["flakes","ca-derivations"]}}"#;
        let texts = br#"{"system":{"value":"x86_64-linux"},"extra-platforms":{"value":"i686-linux"},
            "system-features":{"value":"kvm big-parallel"},"cores":{"value":4},
            "experimental-features":{"value":"ca-derivations"}}"#;
        let expected = Settings {
            systems: vec!["x86_64-linux".into(), "i686-linux".into()],
            features: vec!["big-parallel".into(), "ca-derivations".into(), "kvm".into()],
            cores: 4,
            sandboxed: false,
        };
        assert_eq!(Settings::parse(arrays).unwrap(), expected);
        assert_eq!(Settings::parse(texts).unwrap(), expected);
        let features = |on: &str| {
            let json = format!(r#"{{"system":{{"value":"x86_64-linux"}},"experimental-features":{{"value":{on}}}}}"#);
            Settings::parse(json.as_bytes()).unwrap().features
        };
        assert_eq!(features("[0,2,3]"), ["ca-derivations"]);
        assert!(features("[2,3]").is_empty() && features(r#"["flakes"]"#).is_empty());
        assert!(Settings::parse(b"{}").is_err());
        assert!(Settings::parse(b"error: no").is_err());
    }

    #[test]
    fn the_version_is_the_last_word() {
        assert_eq!(parse_version("nix (Nix) 2.34.8\n"), "2.34.8");
        assert_eq!(parse_version(""), "unknown");
    }
}
