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

/// The 14th and the 15th field; the second one is a name in parentheses that may hold anything.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(TICK * (user + system))
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
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 5 0 0 0 250 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_secs(3)));
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
