//! All the workers: on one thread of their own, so that they leave the machine to the server.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Options;
use super::worker::{self, Identity};
use crate::interrupt;

/// How often is looked whether they are that far.
const PAUSE: Duration = Duration::from_millis(2);

/// What the workers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Their builds take some time, and are reported one by one.
    Pace,
    /// Their builds end at once. Outputs are uploaded, and nothing is reported.
    Hold,
    /// What was held is reported. What comes then is not begun.
    Burst,
    /// They go.
    Over,
}

/// Who a worker is.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) token: String,
}

/// How many builds got how far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) assigned: usize,
    /// Uploaded in [`Phase::Hold`].
    pub(super) held: usize,
    /// Reported as built, and acknowledged.
    pub(super) completed: usize,
}

/// What the workers have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) assigned: AtomicUsize,
    pub(super) held: AtomicUsize,
    pub(super) completed: AtomicUsize,
    measured: AtomicBool,
    gaps: Mutex<Vec<Duration>>,
    error: Mutex<Option<anyhow::Error>>,
}

impl Seen {
    /// A slot was free for so long.
    pub(super) fn gap(&self, gap: Duration) {
        if self.measured.load(Relaxed) {
            locked(&self.gaps).push(gap);
        }
    }
}

/// The running workers.
pub(super) struct Crew {
    seen: Arc<Seen>,
    phase: watch::Sender<Phase>,
    thread: Option<JoinHandle<()>>,
}

impl Crew {
    /// Starts them; they are given builds as they connect.
    pub(super) fn connect(address: &str, members: &[Member], options: &Options) -> Result<Self> {
        let (phase, seen) = (watch::Sender::new(Phase::Pace), Arc::<Seen>::default());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut workers = JoinSet::new();
        for (number, member) in (0..).zip(members) {
            let identity = Identity {
                address: address.to_owned(),
                id: member.id.parse()?,
                token: member.token.clone(),
                slots: options.slots,
                seed: number,
                build: Duration::from_secs(options.build_secs),
            };
            workers.spawn_on(worker::work(identity, phase.subscribe(), Arc::clone(&seen)), runtime.handle());
        }
        let told = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                while let Some(ended) = workers.join_next().await {
                    if let Err(error) = ended.unwrap_or_else(|error| Err(anyhow!(error))) {
                        locked(&told.error).get_or_insert(error);
                    }
                }
            });
        });
        Ok(Self { seen, phase, thread: Some(thread) })
    }

    /// What they do from now on.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Whether the time from a free slot to its next build is kept.
    pub(super) fn measure(&self, on: bool) {
        self.seen.measured.store(on, Relaxed);
    }

    pub(super) fn take_gaps(&self) -> Vec<Duration> {
        std::mem::take(&mut *locked(&self.seen.gaps))
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            assigned: self.seen.assigned.load(Relaxed),
            held: self.seen.held.load(Relaxed),
            completed: self.seen.completed.load(Relaxed),
        }
    }

    pub(super) fn wait_until(&self, limit: Duration, what: &str, enough: impl Fn(Counts) -> bool) -> Result<()> {
        let started = Instant::now();
        while !enough(self.counts()) {
            interrupt::check()?;
            if let Some(error) = locked(&self.seen.error).take() {
                return Err(error).context("a stub worker");
            }
            if started.elapsed() > limit {
                bail!("it takes too long until {what}: {:?}", self.counts());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Ends all sessions.
    pub(super) fn disband(mut self) -> Result<()> {
        self.enter(Phase::Over);
        let thread = self.thread.take();
        thread.map_or(Ok(()), |thread| thread.join().map_err(|_| anyhow!("the stub workers panicked")))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.enter(Phase::Over);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two for each worker, as far as this system lets us.
pub(super) fn allow_many_sockets() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
