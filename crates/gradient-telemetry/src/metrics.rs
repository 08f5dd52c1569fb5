//! What a process counts, as Prometheus reads it.
//!
//! Whoever has something to count does so with the macros of the crate `metrics`, wherever it happens; until this is started they
//! cost next to nothing.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use metrics::{Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::TelemetryError;

/// Upper bounds for what takes a time, in seconds: from a narinfo out of memory to a repository that is asked.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What this process has counted. Clones share it.
#[derive(Debug, Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Counts from now on.
    pub fn start() -> Result<Self, TelemetryError> {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS);
        let handle = builder.and_then(PrometheusBuilder::install_recorder).map_err(|_| TelemetryError::AlreadyRunning)?;
        describe_gauge!("process_resident_memory_bytes", Unit::Bytes, "Memory of the process that is not swapped out");
        describe_gauge!("process_open_fds", "Open file descriptors");
        describe_gauge!("process_start_time_seconds", Unit::Seconds, "When it began to count, in seconds since 1970");
        if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
            gauge!("process_start_time_seconds").set(now.as_secs_f64());
        }
        Ok(Self(handle))
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            gauge!("process_resident_memory_bytes").set(bytes);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            gauge!("process_open_fds").set(f64::from(u32::try_from(open.count()).unwrap_or(u32::MAX)));
        }
        self.0.render()
    }

    /// Gives back the memory of single durations, which otherwise waits for somebody to read them. To be called every few seconds.
    pub fn tidy_up(&self) {
        self.0.run_upkeep();
    }
}

/// As Linux says it, in KiB.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u32 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(f64::from(kib) * 1024.0)
}
