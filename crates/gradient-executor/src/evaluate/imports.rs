//! Tells the server of the builders that evaluators wait for, because the evaluation imports from their outputs.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use gradient_domain::{Failure, FailureKind};
use gradient_nix::StorePath;
use gradient_nix_daemon::RelayedBuild;
use gradient_protocol::Report;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::files::DerivationFiles;
use crate::job::{JobContext, failure};

/// How many news may wait; builders that are faster have to wait for the server.
pub(super) const NEWS: usize = 256;

/// Of how many derivations the server is told.
const MAX_BUILDS: usize = 1000;

/// How much of each log is sent. The server may keep less.
const MAX_LOG_BYTES: u64 = 64 << 20;

/// Lines go on together, once they are so many bytes, or so old.
const BATCH_BYTES: usize = 64 << 10;
const BATCH_AGE: Duration = Duration::from_millis(200);

/// Reports everything that comes, until nothing more does. Each derivation is told of once: evaluators want what has failed again
/// for each attribute that needs it, and it fails again.
pub(super) async fn report(
    context: &JobContext,
    files: &DerivationFiles,
    mut news: mpsc::Receiver<RelayedBuild>,
) -> Result<(), Failure> {
    let mut imports = Imports { context, files, told: HashSet::new(), running: HashMap::new(), interrupted: HashMap::new() };
    let mut due = None;
    loop {
        let next = match due {
            Some(due) => timeout_at(due, news.recv()).await,
            None => Ok(news.recv().await),
        };
        match next {
            Ok(Some(news)) => {
                imports.take(news).await?;
                if due.is_none() && imports.running.values().any(|log| !log.unsent.is_empty()) {
                    due = Some(Instant::now() + BATCH_AGE);
                }
            }
            Ok(None) => return imports.send_all().await,
            Err(_) => {
                imports.send_all().await?;
                due = None;
            }
        }
    }
}

struct Imports<'c> {
    context: &'c JobContext,
    files: &'c DerivationFiles,
    /// The derivations that the server knows of.
    told: HashSet<StorePath>,
    /// The builders that it is being told of, by their numbers.
    running: HashMap<u64, Log>,
    /// What was stopped with its evaluator, and goes on where it was when another one wants it.
    interrupted: HashMap<StorePath, Log>,
}

/// What a builder has printed.
struct Log {
    derivation: StorePath,
    sent: u64,
    unsent: Vec<u8>,
}

impl Imports<'_> {
    async fn take(&mut self, news: RelayedBuild) -> Result<(), Failure> {
        match news {
            RelayedBuild::Began { run, derivation } => self.begin(run, derivation).await,
            RelayedBuild::Printed { run, line } => self.print(run, &line).await,
            RelayedBuild::Ended { run, outcome, took } => self.end(run, outcome, took).await,
            RelayedBuild::Left { run } => {
                let left = self.running.remove(&run).map(|log| (log.derivation.clone(), log));
                self.interrupted.extend(left);
                Ok(())
            }
        }
    }

    async fn begin(&mut self, run: u64, derivation: StorePath) -> Result<(), Failure> {
        if let Some(log) = self.interrupted.remove(&derivation) {
            self.running.insert(run, log);
            return Ok(());
        }
        if self.told.len() >= MAX_BUILDS || !self.told.insert(derivation.clone()) {
            return Ok(());
        }
        // It can be read, as Nix has just done so.
        let system = self.files.system(&derivation).await?.unwrap_or_default();
        self.running.insert(run, Log { derivation: derivation.clone(), sent: 0, unsent: Vec::new() });
        self.context.report(Report::IfdStarted { derivation, system }).await
    }

    async fn print(&mut self, run: u64, line: &[u8]) -> Result<(), Failure> {
        let Some(log) = self.running.get_mut(&run).filter(|log| log.sent < MAX_LOG_BYTES) else { return Ok(()) };
        log.unsent.extend_from_slice(line);
        log.unsent.push(b'\n');
        if log.unsent.len() < BATCH_BYTES { Ok(()) } else { log.send(self.context).await }
    }

    async fn end(&mut self, run: u64, outcome: Result<(), String>, took: Duration) -> Result<(), Failure> {
        let Some(mut log) = self.running.remove(&run) else { return Ok(()) };
        log.send(self.context).await?;
        let derivation = log.derivation;
        let failure = outcome.err().map(|reason| failure(FailureKind::Permanent, reason));
        let build_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.context.report(Report::IfdEnded { derivation, failure, build_ms }).await
    }

    async fn send_all(&mut self) -> Result<(), Failure> {
        for log in self.running.values_mut().chain(self.interrupted.values_mut()) {
            log.send(self.context).await?;
        }
        Ok(())
    }
}

impl Log {
    async fn send(&mut self, context: &JobContext) -> Result<(), Failure> {
        for part in std::mem::take(&mut self.unsent).chunks(BATCH_BYTES) {
            let (derivation, offset, bytes) = (self.derivation.clone(), self.sent, part.to_vec());
            self.sent = self.sent.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
            context.report(Report::IfdLog { derivation, offset, bytes }).await?;
        }
        Ok(())
    }
}
