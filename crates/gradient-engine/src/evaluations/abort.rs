//! Evaluations end before their time.

use gradient_domain::{EvaluationId, EvaluationStatus, Moment};
use gradient_scheduler::Event;
use gradient_storage::{Conn, StorageError, evaluations};

use crate::{Change, Engine, EngineError, ifd_builds, measures};

impl Engine {
    /// Ends an evaluation and its running builds, except those that another evaluation needs. All of it is durable when this
    /// returns, and the workers are told. Nothing happens to an evaluation that has ended.
    pub async fn abort_evaluation(&self, id: EvaluationId) -> Result<(), EngineError> {
        let now = Moment::now();
        self.storage().transaction(async move |conn: &mut Conn| end_rows(conn, &[id], now).await).await?;
        self.stop_aborted(vec![id]).await
    }

    /// Stops what runs for evaluations that the database knows as aborted.
    pub(crate) async fn stop_aborted(&self, ended: Vec<EvaluationId>) -> Result<(), EngineError> {
        let stop = |&evaluation: &EvaluationId| Event::AbortEvaluation { evaluation, stop_running: true };
        self.core().settle(ended.iter().map(stop).collect()).await?;
        for evaluation in ended {
            ifd_builds::settle_later(self, evaluation);
            self.changes().announce(Change::Evaluation(evaluation));
        }
        Ok(())
    }
}

/// The database has the end first, so that nothing brings the evaluations back: neither a restart nor somebody who was about to
/// tell the scheduler of one of them.
pub(crate) async fn end_rows(conn: &mut Conn, ids: &[EvaluationId], now: Moment) -> Result<(), StorageError> {
    for id in ids {
        if evaluations::set_status(conn, *id, EvaluationStatus::Aborted, None, now).await? {
            measures::evaluation_finished(EvaluationStatus::Aborted);
        }
    }
    Ok(())
}
