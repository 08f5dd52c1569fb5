use std::{collections::BTreeMap, time::Duration};

use super::{Connection, Operation};
use crate::Error;

/// How the daemon is to work for this connection. Builds run on its own machine only: its `builders` are set to none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How much of its own words it says: 0 errors, 1 warnings, up to 7.
    pub verbosity: u64,
    /// How many builds may run at once; 1 where the caller does the scheduling.
    pub max_jobs: u64,
    /// How many processor cores a build may use; 0 means all.
    pub cores: u64,
    /// Whether the directory of a failed build stays.
    pub keep_failed: bool,
    /// Whether outputs may come from the daemon's substituters.
    pub substitute: bool,
    /// How long a builder may run.
    pub timeout: Option<Duration>,
    /// How long a builder may print nothing.
    pub max_silent: Option<Duration>,
    /// How many bytes a builder may print.
    pub max_log_bytes: Option<u64>,
    /// Further settings of nix.conf.
    pub settings: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            verbosity: 1,
            max_jobs: 1,
            cores: 0,
            keep_failed: false,
            substitute: false,
            timeout: None,
            max_silent: None,
            max_log_bytes: None,
            settings: BTreeMap::new(),
        }
    }
}

/// The level of what nobody wants to see.
const VOMIT: u64 = 7;

impl Connection {
    /// Sets the options for what follows on this connection.
    pub async fn set_options(&mut self, options: &Options) -> Result<(), Error> {
        let mut settings = options.settings.clone();
        settings.insert("builders".into(), String::new());
        settings.insert("timeout".into(), seconds(options.timeout).to_string());
        settings.insert("max-build-log-size".into(), options.max_log_bytes.unwrap_or(0).to_string());
        let writer = self.begin(Operation::SetOptions)?;
        writer.flag(options.keep_failed).flag(false).flag(false).number(options.verbosity);
        writer.number(options.max_jobs).number(seconds(options.max_silent));
        // Obsolete: the build hook; then the level from which logs are printed, and two more obsolete ones.
        writer.flag(true).number(VOMIT).number(0).number(0);
        writer.number(options.cores).flag(options.substitute).count(settings.len());
        for (name, value) in &settings {
            writer.text(name).text(value);
        }
        self.answer().await?;
        self.end();
        Ok(())
    }
}

/// Whole seconds; 0 is Nix's word for no limit, so what is set is at least one.
fn seconds(limit: Option<Duration>) -> u64 {
    limit.map_or(0, |limit| limit.as_secs().max(1))
}
