//! How much memory an evaluator has. The limit that it is told of bounds its heap only; this one bounds all that it has, wherever
//! that is.

use std::{fs, time::Duration};

use tokio::time::sleep;

/// How often it is looked at.
const PAUSE: Duration = Duration::from_millis(250);

/// Ends when a process has more than this; never without a limit, nor when the process ends before.
pub(super) async fn exceeded(process: Option<u32>, limit: Option<u64>) {
    let (Some(process), Some(limit)) = (process, limit) else { return std::future::pending().await };
    while of(process).is_none_or(|bytes| bytes <= limit) {
        sleep(PAUSE).await;
    }
}

/// Lets the kernel end this process first where all memory is used up, for whatever reason: an evaluation can go on without it.
pub(super) fn volunteer(process: Option<u32>) {
    if let Some(process) = process {
        // One that has ended needs no memory, and to be less wanted needs no permission.
        let _ = fs::write(format!("/proc/{process}/oom_score_adj"), "1000");
    }
}

/// What is in memory and what is swapped out, in bytes.
fn of(process: u32) -> Option<u64> {
    parse(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn parse(status: &str) -> Option<u64> {
    let kibibytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let swapped = kibibytes("VmSwap:").unwrap_or(0);
    Some((kibibytes("VmRSS:")? + swapped) << 10)
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn what_is_swapped_out_counts() {
        let status = "Name:\tnix\nVmPeak:\t  900 kB\nVmRSS:\t     300 kB\nVmData:\t 1 kB\nVmSwap:\t      24 kB\n";
        assert_eq!(parse(status), Some(324 << 10));
        assert_eq!(parse("VmRSS:\t1 kB\n"), Some(1 << 10));
        assert_eq!(parse("Name:\tzombie\n"), None);
        assert!(of(std::process::id()).is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn a_volunteer_is_ended_first() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        volunteer(Some(child.id()));
        assert_eq!(fs::read_to_string(format!("/proc/{}/oom_score_adj", child.id())).unwrap().trim(), "1000");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn one_that_grows_is_noticed() {
        let shell = |script: &str| Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
        let mut small = shell("exec sleep 60");
        assert!(timeout(Duration::from_millis(600), exceeded(Some(small.id()), Some(64 << 20))).await.is_err());
        small.kill().unwrap();
        let mut growing = shell("kept=$(head -c 100000000 /dev/zero | tr '\\0' x); sleep 60; echo ${#kept} > /dev/null");
        timeout(Duration::from_mins(1), exceeded(Some(growing.id()), Some(64 << 20))).await.unwrap();
        growing.kill().unwrap();
        for child in [&mut small, &mut growing] {
            child.wait().unwrap();
        }
    }
}
