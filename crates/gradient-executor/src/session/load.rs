//! How busy this machine is.

use std::{fs, path::Path};

use gradient_domain::Shortage;
use gradient_protocol::Load;

use crate::Reserve;

/// The machine's memory, or what this worker may have of it.
pub(crate) fn memory_bytes() -> u64 {
    let machine = memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal");
    let group = group(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default()).map(ToOwned::to_owned);
    let groups = Path::new("/sys/fs/cgroup");
    let limits = group.iter().flat_map(|group| Path::new(group).ancestors()).filter_map(|group| {
        // Where there is no limit it says `max`.
        fs::read_to_string(groups.join(group).join("memory.max")).ok()?.trim().parse::<u64>().ok()
    });
    limits.fold(machine, u64::min)
}

/// The control group of `/proc/self/cgroup`, relative to the uppermost one.
fn group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::/"))
}

/// How busy it is now, and whether it has less than the reserve; space counts where the store is.
pub(super) fn now(reserve: &Reserve, store: &Path) -> Load {
    let memory_free_bytes = memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemAvailable");
    let load_average = load_average(&fs::read_to_string("/proc/loadavg").unwrap_or_default());
    let disk_free_bytes = rustix::fs::statvfs(store).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let shortage = shortage(reserve, memory_free_bytes, disk_free_bytes);
    Load { load_average, memory_free_bytes, disk_free_bytes, shortage }
}

fn shortage(reserve: &Reserve, memory_free_bytes: u64, disk_free_bytes: u64) -> Option<Shortage> {
    if disk_free_bytes < reserve.disk_bytes {
        Some(Shortage::Disk)
    } else if memory_free_bytes < reserve.memory_bytes {
        Some(Shortage::Memory)
    } else {
        None
    }
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
        assert_eq!(group("1:cpu:/x\n0::/system.slice/gradient-worker.service\n"), Some("system.slice/gradient-worker.service"));
        assert_eq!((group("0::/\n"), group("1:cpu:/x\n")), (Some(""), None));
        assert!((load_average("1.25 0.5 0.1 1/200 5\n") - 1.25).abs() < f32::EPSILON);
        assert!(load_average("").abs() < f32::EPSILON);
    }

    #[test]
    fn what_is_short_is_told() {
        let reserve = Reserve { memory_bytes: 10, disk_bytes: 20 };
        assert_eq!(shortage(&reserve, 10, 20), None);
        assert_eq!(shortage(&reserve, 9, 20), Some(Shortage::Memory));
        assert_eq!(shortage(&reserve, 9, 19), Some(Shortage::Disk));
    }
}
