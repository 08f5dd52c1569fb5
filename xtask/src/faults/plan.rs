//! What is thrown at a run, and when: a seed says all of it.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::proxy::Way;
use crate::bench::database::Database;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    ServerKilled,
    LeaderKilled,
    LeaderStopped,
    WorkerKilled,
    ServerStopped,
    WorkerStopped,
    Cut,
    HalfCut,
    Silent,
    Loss,
    Delayed,
    Doubled,
    Late,
    DiskFull,
    WorkerDiskFull,
    Clock,
    PostgresKilled,
    PostgresRestarted,
    PowerLoss,
    PostgresPowerLoss,
    Forged,
    Twins,
}

impl Fault {
    /// Each seed has the one at its place, counted round and round.
    pub(super) const ALL: [Self; 22] = [
        Self::ServerKilled,
        Self::LeaderKilled,
        Self::LeaderStopped,
        Self::WorkerKilled,
        Self::ServerStopped,
        Self::WorkerStopped,
        Self::Cut,
        Self::HalfCut,
        Self::Silent,
        Self::Loss,
        Self::Delayed,
        Self::Doubled,
        Self::Late,
        Self::DiskFull,
        Self::WorkerDiskFull,
        Self::Clock,
        Self::PostgresKilled,
        Self::PostgresRestarted,
        Self::PowerLoss,
        Self::PostgresPowerLoss,
        Self::Forged,
        Self::Twins,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ServerKilled => "server killed",
            Self::LeaderKilled => "leader of two killed",
            Self::LeaderStopped => "leader of two stopped",
            Self::WorkerKilled => "worker killed",
            Self::ServerStopped => "server stopped",
            Self::WorkerStopped => "worker stopped",
            Self::Cut => "connections cut",
            Self::HalfCut => "one way held",
            Self::Silent => "one way silent for ever",
            Self::Loss => "30 % lost",
            Self::Delayed => "frames delayed",
            Self::Doubled => "frames doubled",
            Self::Late => "frames again, late",
            Self::DiskFull => "server's disk full",
            Self::WorkerDiskFull => "worker's disk full",
            Self::Clock => "server's clock jumps",
            Self::PostgresKilled => "PostgreSQL killed",
            Self::PostgresRestarted => "PostgreSQL restarted",
            Self::PowerLoss => "power loss of the server",
            Self::PostgresPowerLoss => "power loss of PostgreSQL",
            Self::Forged => "forged reports",
            Self::Twins => "two workers, one id",
        }
    }

    /// Whether it can happen on this database.
    pub(super) const fn applies_to(self, database: Database) -> bool {
        let needs_postgres = matches!(
            self,
            Self::LeaderKilled | Self::LeaderStopped | Self::PostgresKilled | Self::PostgresRestarted | Self::PostgresPowerLoss
        );
        !needs_postgres || matches!(database, Database::Postgres)
    }

    /// Whether it is in the short list, which every change runs: those that differ most, and take seconds.
    const fn is_short(self) -> bool {
        matches!(
            self,
            Self::ServerKilled
                | Self::LeaderKilled
                | Self::WorkerKilled
                | Self::Cut
                | Self::PostgresKilled
                | Self::Forged
                | Self::Twins
        )
    }

    /// How long it lasts when it lasts long, where that is something else: those that are stopped hear nothing for longer than either
    /// side waits for a word of the other, and a worker that finds nobody waits longer from try to try.
    const fn long(self) -> Option<Duration> {
        match self {
            Self::ServerStopped | Self::WorkerStopped => Some(Duration::from_mins(1)),
            Self::ServerKilled | Self::Cut => Some(Duration::from_secs(20)),
            _ => None,
        }
    }

    /// How often a build may run again for each time that it strikes: not at all where what runs can go on.
    pub(super) const fn repeats(self) -> Repeats {
        match self {
            Self::WorkerKilled => Repeats::OncePerStrike,
            // What was not durable is done again.
            Self::DiskFull | Self::WorkerDiskFull | Self::PowerLoss => Repeats::Any,
            _ => Repeats::None,
        }
    }
}

/// How often a build may run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    None,
    OncePerStrike,
    Any,
}

/// One time that a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Strike {
    /// How long after the trigger, or after the last strike was over.
    pub(super) after: Duration,
    /// How long it lasts.
    pub(super) lasts: Duration,
    /// In which way; faults that know other choices read it as one of two.
    pub(super) way: Way,
}

/// What is thrown at one run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) database: Database,
    pub(super) fault: Fault,
    pub(super) strikes: Vec<Strike>,
}

impl Plan {
    /// What a seed says; nothing when its fault cannot happen on this database. The first seeds are quick, for the short list.
    pub(super) fn of(seed: u64, database: Database) -> Option<Self> {
        let kinds = u64::try_from(Fault::ALL.len()).ok()?;
        let place = usize::try_from(seed % kinds).ok()?;
        let fault = Fault::ALL.get(place).copied().filter(|fault| fault.applies_to(database))?;
        let mut random = StdRng::seed_from_u64(seed);
        let is_quick = seed < kinds;
        let long = fault.long().filter(|_| !is_quick && random.random_bool(0.5));
        // What is silent for ever is noticed after a minute.
        let count = if is_quick || long.is_some() || fault == Fault::Silent { 1 } else { random.random_range(1..=3) };
        let strikes = (0..count).map(|number| {
            let before = if number == 0 { 200..7000 } else { 0..2500 };
            let lasts = Duration::from_millis(random.random_range(500..if is_quick { 2000 } else { 5000 }));
            Strike {
                after: Duration::from_millis(random.random_range(before)),
                lasts: long.unwrap_or(lasts),
                way: if random.random_bool(0.5) { Way::ToServer } else { Way::ToWorker },
            }
        });
        Some(Self { seed, database, fault, strikes: strikes.collect() })
    }

    /// So many runs from this seed on, each seed on each of the databases.
    pub(super) fn list(first: u64, runs: usize, databases: &[Database]) -> Vec<Self> {
        let seeds = first..;
        seeds.flat_map(|seed| databases.iter().filter_map(move |database| Self::of(seed, *database))).take(runs).collect()
    }

    /// What there is time for in CI: the first seeds, on the databases in turn.
    pub(super) fn short_list(databases: &[Database]) -> Vec<Self> {
        let short = (0..).zip(Fault::ALL).filter(|(_, fault)| fault.is_short());
        let plan = |(number, (seed, _)): (usize, (u64, Fault))| {
            let mut in_turn = databases.iter().cycle().skip(number % databases.len()).take(databases.len());
            in_turn.find_map(|database| Self::of(seed, *database))
        };
        short.enumerate().filter_map(plan).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Database; 2] = [Database::Sqlite, Database::Postgres];

    #[test]
    fn a_seed_says_the_same_each_time() {
        for seed in 0..100 {
            let (one, other) = (Plan::of(seed, Database::Postgres).unwrap(), Plan::of(seed, Database::Postgres).unwrap());
            assert_eq!((one.fault, one.strikes), (other.fault, other.strikes));
        }
    }

    #[test]
    fn every_fault_is_in_a_round_and_only_where_it_can_happen() {
        let mut found: Vec<Fault> = Plan::list(44, 39, &BOTH).iter().map(|plan| plan.fault).collect();
        found.dedup();
        assert_eq!(found, Fault::ALL);
        assert!(Plan::list(0, 100, &[Database::Sqlite]).iter().all(|plan| plan.fault.applies_to(Database::Sqlite)));
    }

    #[test]
    fn the_short_list_is_quick_and_on_both_databases() {
        let plans = Plan::short_list(&BOTH);
        assert_eq!(plans.len(), 7);
        for plan in &plans {
            assert_eq!(plan.strikes.len(), 1, "{plan:?}");
            assert!(plan.strikes.iter().all(|strike| strike.lasts < Duration::from_secs(2)), "{plan:?}");
        }
        let on_postgres = plans.iter().filter(|plan| plan.database == Database::Postgres).count();
        assert!((2..=5).contains(&on_postgres), "{on_postgres}");
        assert_eq!(Plan::short_list(&[Database::Sqlite]).len(), 5);
    }
}
