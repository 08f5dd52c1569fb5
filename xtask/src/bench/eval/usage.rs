//! What processes use while they work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::bench::proc;

/// How often memory is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// What it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) wall: Duration,
    /// Of all processes.
    pub(super) cpu: Duration,
    /// The most memory that all processes had at the same time, in bytes.
    pub(super) peak: u64,
}

/// Looks again and again at the memory of a group of processes.
#[derive(Debug)]
pub(super) struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    pub(super) fn start(group: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut peak = 0;
            while !told.load(Ordering::Relaxed) {
                peak = peak.max(proc::rss_of_group(group).unwrap_or(0));
                thread::sleep(PAUSE);
            }
            peak
        });
        Self { over, thread }
    }

    /// The most that it saw, in bytes.
    pub(super) fn peak(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(0)
    }
}
