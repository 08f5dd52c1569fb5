//! What the engine counts. `docs/metrics.md` says what each name means; it is the same list.

use gradient_domain::{BuildStatus, EvaluationStatus};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::Engine;

/// What the names mean, for those who read the numbers.
pub(crate) fn describe() {
    describe_counter!("gradient_builds_finished_total", "Builds that have ended, by what became of them");
    describe_counter!("gradient_evaluations_finished_total", "Evaluations that have ended, by what became of them");
    describe_counter!("gradient_worker_sessions_total", "Sessions of workers that have begun");
    describe_counter!("gradient_log_bytes_total", Unit::Bytes, "Log output of builders that was stored");
    describe_counter!("gradient_uploaded_bytes_total", Unit::Bytes, "NARs of workers that were verified, before compression");
    describe_gauge!("gradient_evaluations", "Evaluations that have not ended, by state");
    describe_gauge!("gradient_builds", "Builds that have not ended, by state");
    describe_gauge!("gradient_evaluation_jobs", "Fetches and evaluations that have not ended, by state");
    describe_gauge!("gradient_workers", "Connected workers");
    describe_gauge!("gradient_worker_slots", "Build slots of connected workers");
    describe_gauge!("gradient_worker_jobs", "Jobs that connected workers have");
    describe_gauge!("gradient_database_connections", "Database connections, by pool and state");
    describe_gauge!("gradient_database_waiting", "Callers that wait for a database connection, by pool");
}

pub(crate) fn build_finished(status: BuildStatus) {
    counter!("gradient_builds_finished_total", "status" => status.as_str()).increment(1);
}

pub(crate) fn evaluation_finished(status: EvaluationStatus) {
    counter!("gradient_evaluations_finished_total", "status" => status.as_str()).increment(1);
}

pub(crate) fn worker_session_began() {
    counter!("gradient_worker_sessions_total").increment(1);
}

pub(crate) fn log_stored(bytes: u64) {
    counter!("gradient_log_bytes_total").increment(bytes);
}

pub(crate) fn nar_uploaded(bytes: u64) {
    counter!("gradient_uploaded_bytes_total").increment(bytes);
}

impl Engine {
    /// Takes the measure of what comes and goes, for whoever reads the numbers next.
    pub async fn measure(&self) {
        if let Some(census) = self.core().census().await {
            for (state, count) in
                [("active", census.evaluations - census.waiting_evaluations), ("waiting", census.waiting_evaluations)]
            {
                gauge!("gradient_evaluations", "state" => state).set(count);
            }
            for (state, count) in
                [("blocked", census.blocked_builds), ("ready", census.ready_builds), ("running", census.running_builds)]
            {
                gauge!("gradient_builds", "state" => state).set(count);
            }
            for (state, count) in [("ready", census.ready_evaluation_jobs), ("running", census.running_evaluation_jobs)] {
                gauge!("gradient_evaluation_jobs", "state" => state).set(count);
            }
        }
        let workers = self.live_workers().await;
        let sum = |of: fn(&crate::LiveWorker) -> usize| number(workers.iter().map(of).sum());
        gauge!("gradient_workers").set(number(workers.len()));
        gauge!("gradient_worker_slots").set(sum(|live| live.connected.capabilities.build_slots as usize));
        gauge!("gradient_worker_jobs").set(sum(|live| live.assigned_jobs));
        for pool in self.storage().usage() {
            let idle = pool.limit.saturating_sub(pool.used);
            gauge!("gradient_database_connections", "pool" => pool.pool, "state" => "used").set(number(pool.used));
            gauge!("gradient_database_connections", "pool" => pool.pool, "state" => "free").set(number(idle));
            gauge!("gradient_database_waiting", "pool" => pool.pool).set(number(pool.waiting));
        }
    }
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
