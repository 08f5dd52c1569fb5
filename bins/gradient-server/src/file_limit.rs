//! Every connection is an open file, and of those a process may have fewer by default than a server needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files for everything that is no connection of a client: the database, the store, the programs that are run.
const OTHERS: u64 = 512;

/// Descriptors that each connection takes.
const PER_CONNECTION: u64 = 2;

/// Allows this process as many open files as these connections need, if it may have them, and answers how many connections are
/// possible then.
pub(crate) fn raise_for(connections: u32) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Not more than that: there are programs that close all files that they might have, one by one.
    let wanted = OTHERS + PER_CONNECTION * u64::from(connections);
    let mut files = current;
    if current.is_some_and(|current| current < wanted) {
        let raised = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        if setrlimit(Resource::Nofile, Rlimit { current: raised, maximum }).is_ok() {
            files = raised;
        }
    }
    let possible = possible(files, connections);
    if possible < connections {
        tracing::warn!("at most {possible} connections at a time: this process may have no more open files (ulimit -n)");
    }
    usize::try_from(possible).unwrap_or(usize::MAX)
}

fn possible(files: Option<u64>, wanted: u32) -> u32 {
    let Some(files) = files else { return wanted };
    let possible = files.saturating_sub(OTHERS).max(files / 2) / PER_CONNECTION;
    u32::try_from(possible).unwrap_or(u32::MAX).clamp(1, wanted)
}

#[cfg(test)]
mod tests {
    use super::possible;

    #[test]
    fn connections_leave_files_for_others() {
        assert_eq!(possible(None, 16_384), 16_384);
        assert_eq!(possible(Some(1 << 20), 16_384), 16_384);
        assert_eq!(possible(Some(4096), 16_384), 1792);
        assert_eq!(possible(Some(256), 16_384), 64);
        assert_eq!(possible(Some(0), 16_384), 1);
    }
}
