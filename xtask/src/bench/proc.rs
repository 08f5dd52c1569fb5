//! What the kernel says of a process.

use std::time::Duration;

use anyhow::{Context, Result};

/// The unit of processor time in `/proc`: a hundredth of a second, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// The processor time that a process has used, in user and in kernel mode.
pub(super) fn cpu_time(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    parse_cpu_time(&stat, 2).with_context(|| format!("reading `{stat}`"))
}

/// The same with that of its children that have ended.
pub(super) fn cpu_time_with_children(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    parse_cpu_time(&stat, 4).with_context(|| format!("reading `{stat}`"))
}

/// The memory that all processes of a group have resident, in bytes. What they share counts for each.
pub(super) fn rss_of_group(group: u32) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Some end meanwhile.
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        if parse_group(&stat) == Some(group) {
            bytes += rss(process).unwrap_or(0);
        }
    }
    Ok(bytes)
}

/// The most memory that a process had resident since it started, in bytes.
pub(super) fn peak_rss(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    parse_memory(&status, "VmHWM:").context("no VmHWM in the process's status")
}

/// The memory that a process has resident, in bytes.
pub(super) fn rss(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    parse_memory(&status, "VmRSS:").context("no VmRSS in the process's status")
}

/// The processes that listen at a TCP port of this machine: of a server with several, all of them.
pub(super) fn listening_at(port: u16) -> Result<Vec<u32>> {
    let mut sockets = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // A kernel may have no IPv6.
        sockets.extend(parse_listeners(&std::fs::read_to_string(table).unwrap_or_default(), port));
    }
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Other users' are closed, and some end meanwhile.
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{process}/fd")) else { continue };
        let mut files = descriptors.flatten().filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
        if files.any(|file| file.to_str().is_some_and(|file| sockets.iter().any(|socket| socket == file))) {
            processes.push(process);
        }
    }
    Ok(processes)
}

/// What descriptors of such a socket are links to, from the kernel's table of sockets.
fn parse_listeners(table: &str, port: u16) -> Vec<String> {
    const LISTENING: &str = "0A";
    let (mut sockets, port) = (Vec::new(), format!(":{port:04X}"));
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [_, local, _, LISTENING, _, _, _, _, _, inode, ..] = fields.as_slice()
            && local.ends_with(&port)
        {
            sockets.push(format!("socket:[{inode}]"));
        }
    }
    sockets
}

/// So many fields from the 14th on: its own time, then that of its children.
fn parse_cpu_time(stat: &str, fields: usize) -> Option<Duration> {
    let ticks = fields_after_name(stat)?.skip(11).take(fields).map(|field| field.parse::<u32>().ok());
    Some(TICK * ticks.sum::<Option<u32>>()?)
}

/// The fifth field.
fn parse_group(stat: &str) -> Option<u32> {
    fields_after_name(stat)?.nth(2)?.parse().ok()
}

/// The fields from the third on; the second one is a name in parentheses that may hold anything.
fn fields_after_name(stat: &str) -> Option<impl Iterator<Item = &str>> {
    let (_, after_name) = stat.rsplit_once(')')?;
    Some(after_name.split_whitespace())
}

fn parse_memory(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listening_at(listener.local_addr().unwrap().port()).unwrap(), [std::process::id()]);
    }

    #[test]
    fn the_kernels_texts_are_read() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 5 0 0 0 250 50 60 40 20 0 4 0 100 1 1";
        assert_eq!(parse_cpu_time(stat, 2), Some(Duration::from_secs(3)));
        assert_eq!(parse_cpu_time(stat, 4), Some(Duration::from_secs(4)));
        assert_eq!(parse_group(stat), Some(42));
        assert_eq!(parse_memory("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n", "VmHWM:"), Some(2 << 20));
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 \
             00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0\n   1: 0100007F:1F90 0100007F:C000 01 \
             00000000:00000000 00:00000000 00000000     0        0 4243 1 0000000000000000 100 0 0 10 0\n";
        assert_eq!(parse_listeners(table, 8080), ["socket:[4242]"]);
        assert_eq!(parse_listeners(table, 8081), [""; 0]);
        assert!(peak_rss(std::process::id()).unwrap() > 0);
        cpu_time(std::process::id()).unwrap();
    }
}
