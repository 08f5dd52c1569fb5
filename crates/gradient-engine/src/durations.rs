//! How long builds are expected to take: learnt from those that ended, looked up in memory, and written down every few seconds and
//! when the server stops. A server that is killed loses what it learnt since the last time.
//!
//! What is learnt is everybody's: an organization's first build of a package is expected to take as long as others' builds of it did.
//! That decides about the order in which the scheduler builds, and an organization sees of it only when its own builds may begin, never
//! whose builds that comes from, nor how long one of them took.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gradient_domain::Moment;
use gradient_scheduler::{DurationHistory, DurationSummary, Package};
use gradient_storage::{
    Conn, Storage, StorageError,
    build_durations::{self, BuildDuration},
};

use crate::{Engine, EngineError};

/// From one writing down to the next.
const EVERY: Duration = Duration::from_secs(5);

/// Rows in one transaction.
const ROWS: usize = 500;

/// How many packages are remembered: the last ones that were built.
pub(crate) const KEPT: i64 = 200_000;

/// No real system has a longer name; of others nothing is learnt.
const SYSTEM_BYTES: usize = 64;

/// What builds took.
#[derive(Debug, Default)]
pub(crate) struct Durations(Mutex<Learnt>);

#[derive(Debug, Default)]
struct Learnt {
    history: DurationHistory,
    /// What is not written down yet: name, system, and whether it is a fetch.
    changed: BTreeSet<(String, String, bool)>,
}

impl Durations {
    /// What was written down.
    pub(crate) async fn load(storage: &Storage) -> Result<Self, StorageError> {
        let rows = storage.read(async |conn: &mut Conn| build_durations::list(conn).await).await?;
        let mut history = DurationHistory::default();
        for row in &rows {
            let summary = DurationSummary {
                log_mean: row.log_mean,
                log_variance: row.log_variance,
                observations: u16::try_from(row.observations).unwrap_or(u16::MAX),
            };
            history.restore(Package::of_derivation(&row.name, &row.system, row.fixed), summary);
        }
        Ok(Self(Mutex::new(Learnt { history, changed: BTreeSet::new() })))
    }

    /// How long a derivation of this name is expected to build. `fixed` says that it is a fetch.
    pub(crate) fn expect(&self, name: &str, system: &str, fixed: bool) -> Duration {
        self.lock().history.expect(Package::of_derivation(name, system, fixed))
    }

    /// Learns how long one took.
    pub(crate) fn record(&self, name: &str, system: &str, fixed: bool, took: Duration) {
        if system.len() > SYSTEM_BYTES {
            return;
        }
        let package = Package::of_derivation(name, system, fixed);
        let mut learnt = self.lock();
        learnt.history.record(package, took);
        learnt.changed.insert((package.name().to_owned(), package.system().to_owned(), package.is_fixed_output()));
    }

    /// What is to be written down.
    fn take_changed(&self) -> Vec<BuildDuration> {
        let mut learnt = self.lock();
        let (changed, now) = (mem::take(&mut learnt.changed), Moment::now());
        let row = |(name, system, fixed): (String, String, bool)| {
            let known = learnt.history.summary(Package::of_derivation(&name, &system, fixed))?;
            let DurationSummary { log_mean, log_variance, observations } = known;
            Some(BuildDuration {
                name,
                system,
                fixed,
                log_mean,
                log_variance,
                observations: observations.into(),
                updated_at: now,
            })
        };
        changed.into_iter().filter_map(row).collect()
    }

    fn put_back(&self, rows: Vec<BuildDuration>) {
        self.lock().changed.extend(rows.into_iter().map(|row| (row.name, row.system, row.fixed)));
    }

    fn lock(&self) -> MutexGuard<'_, Learnt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes down until the engine is told to stop; what comes then is for whoever stops the server.
pub(crate) fn start(engine: Engine) {
    tokio::spawn(async move {
        let stopping = engine.clone();
        tokio::select! {
            () = stopping.stopped() => {}
            () = run(engine) => {}
        }
    });
}

async fn run(engine: Engine) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = engine.write_durations().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot write down how long builds took; trying again soon");
        }
    }
}

impl Engine {
    /// Writes down what was learnt of how long builds take.
    pub async fn write_durations(&self) -> Result<(), EngineError> {
        let mut changed = self.durations().take_changed();
        while !changed.is_empty() {
            let rest = changed.split_off(changed.len().min(ROWS));
            let rows = changed.clone();
            let put = async move |conn: &mut Conn| build_durations::put_many(conn, &rows).await;
            if let Err(error) = self.storage().transaction(put).await {
                changed.extend(rest);
                self.durations().put_back(changed);
                return Err(error.into());
            }
            changed = rest;
        }
        Ok(())
    }
}
