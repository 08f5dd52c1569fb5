//! How busy this machine is.

use std::fs;

use gradient_nix::STORE_DIR;
use gradient_protocol::Load;

/// The machine's memory.
pub(crate) fn memory_bytes() -> u64 {
    memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal")
}

/// How busy it is now.
pub(super) fn now() -> Load {
    let memory_free_bytes = memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemAvailable");
    let load_average = load_average(&fs::read_to_string("/proc/loadavg").unwrap_or_default());
    let disk_free_bytes = rustix::fs::statvfs(STORE_DIR).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    Load { load_average, memory_free_bytes, disk_free_bytes }
}

/// One line of `/proc/meminfo`, in bytes.
fn memory(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}

/// The average of the last minute out of `/proc/loadavg`.
fn load_average(text: &str) -> f32 {
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_read() {
        let text = "MemTotal:       16315892 kB\nMemFree:          215892 kB\nMemAvailable:   10 kB\n";
        assert_eq!(memory(text, "MemTotal"), 16_315_892 * 1024);
        assert_eq!(memory(text, "MemAvailable"), 10_240);
        assert_eq!(memory("", "MemTotal"), 0);
        assert!((load_average("1.25 0.5 0.1 1/200 5\n") - 1.25).abs() < f32::EPSILON);
        assert!(load_average("").abs() < f32::EPSILON);
    }
}
