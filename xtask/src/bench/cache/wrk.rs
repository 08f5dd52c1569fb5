//! The load, by `wrk`: what it is told and what it says.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::server::Server;
use crate::bench::{
    figures::{mib, number},
    proc,
};

/// Asks for paths in turn and prints one line at the end.
const SCRIPT: &str = include_str!("wrk.lua");

/// How hard a server is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) connections: usize,
    pub(super) seconds: u64,
    /// Whether every answer has to be a refusal, or none.
    pub(super) refused: bool,
}

/// What came out, of one round or of several.
#[derive(Debug, Clone, Default)]
pub(super) struct Measured {
    requests: u64,
    bytes: u64,
    elapsed: Duration,
    /// The processor time of the server's processes.
    cpu: Duration,
    p50: Vec<Duration>,
    p99: Vec<Duration>,
}

impl Measured {
    pub(super) fn per_second(&self) -> f64 {
        number(self.requests) / self.elapsed.as_secs_f64()
    }

    pub(super) fn mib_per_second(&self) -> f64 {
        mib(self.bytes) / self.elapsed.as_secs_f64()
    }

    /// Microseconds of processor time for one request.
    pub(super) fn cpu_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / number(self.requests)
    }

    /// The median over the rounds, in milliseconds.
    pub(super) fn p50(&self) -> f64 {
        median(&self.p50)
    }

    pub(super) fn p99(&self) -> f64 {
        median(&self.p99)
    }

    pub(super) fn add(&mut self, round: Self) {
        self.requests += round.requests;
        self.bytes += round.bytes;
        self.elapsed += round.elapsed;
        self.cpu += round.cpu;
        self.p50.extend(round.p50);
        self.p99.extend(round.p99);
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// Asks a server for these paths, which begin behind its URL.
pub(super) fn measure(server: &Server, paths: &[String], load: Load, folder: &Path) -> Result<Measured> {
    let (script, list) = (folder.join("wrk.lua"), folder.join("wrk-paths"));
    std::fs::write(&script, SCRIPT)?;
    let mut lines = vec![server.authorization().unwrap_or_default().to_owned()];
    lines.extend(paths.iter().map(|path| format!("{}{path}", server.prefix())));
    // The header is a secret, so it is in no command line.
    std::fs::write(&list, lines.join("\n") + "\n")?;
    let threads = load.connections.min(2);
    let mut command = Command::new("wrk");
    command.args(["-t", &threads.to_string(), "-c", &load.connections.to_string()]);
    command.args(["-d", &format!("{}s", load.seconds), "-s"]).arg(&script);
    command.arg(format!("http://{}/", server.address())).arg("--").arg(&list);

    let processes = server.processes()?;
    let cpu = || processes.iter().map(|process| proc::cpu_time(*process)).sum::<Result<Duration>>();
    let before = cpu()?;
    let output = command.output().context("starting wrk")?;
    let cpu = cpu()?.saturating_sub(before);
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk: {}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let result = parse(&said).with_context(|| format!("wrk said: {said}"))?;
    let refused = if load.refused { result.requests } else { 0 };
    if result.requests == 0 || result.refusals != refused || result.failures != 0 {
        bail!("{} requests to {}: {} were refused, {} failed", result.requests, server.name(), result.refusals, result.failures);
    }
    let (p50, p99) = (vec![result.p50], vec![result.p99]);
    Ok(Measured { requests: result.requests, bytes: result.bytes, elapsed: result.elapsed, cpu, p50, p99 })
}

struct Said {
    requests: u64,
    elapsed: Duration,
    bytes: u64,
    p50: Duration,
    p99: Duration,
    refusals: u64,
    failures: u64,
}

/// The line that the script prints; times are microseconds.
fn parse(said: &str) -> Option<Said> {
    let line = said.lines().find_map(|line| line.strip_prefix("result "))?;
    let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [requests, elapsed, bytes, p50, p99, refusals, failures] = numbers.try_into().ok()?;
    let [elapsed, p50, p99] = [elapsed, p50, p99].map(Duration::from_micros);
    Some(Said { requests, elapsed, bytes, p50, p99, refusals, failures })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_line_is_read() {
        let said = parse("Running 1s test\nresult 10 2000000 300 40 50 6 7\n").unwrap();
        assert_eq!((said.requests, said.bytes, said.refusals, said.failures), (10, 300, 6, 7));
        assert_eq!([said.elapsed, said.p50, said.p99], [2_000_000, 40, 50].map(Duration::from_micros));
        assert!(parse("result 1 2 3").is_none());
    }
}
