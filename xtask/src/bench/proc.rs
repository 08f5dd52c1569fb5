//! What the kernel says of a process.

use std::time::Duration;

use anyhow::{Context, Result};

/// The unit of processor time in `/proc`: a hundredth of a second, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// The processor time that a process has used, in user and in kernel mode.
pub(super) fn cpu_time(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    parse_cpu_time(&stat).with_context(|| format!("reading `{stat}`"))
}

/// The most memory that a process had resident since it started, in bytes.
pub(super) fn peak_rss(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    parse_peak_rss(&status).context("no VmHWM in the process's status")
}

/// The 14th and the 15th field; the second one is a name in parentheses that may hold anything.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(TICK * (user + system))
}

fn parse_peak_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 5 0 0 0 250 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_secs(3)));
        assert_eq!(parse_peak_rss("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert!(peak_rss(std::process::id()).unwrap() > 0);
        cpu_time(std::process::id()).unwrap();
    }
}
