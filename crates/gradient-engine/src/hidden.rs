//! NARs that were quarantined by another process, `gradient-server verify-store`: what is in memory of them is forgotten.

use std::time::Duration;

use gradient_domain::Moment;
use gradient_storage::{Conn, verification};

use crate::{Engine, EngineError};

/// Claims that are read at a time.
const ROWS: i64 = 500;

/// How much later than it says a quarantine may become visible.
const MARGIN: Duration = Duration::from_mins(1);

/// What was seen last.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    newest: Option<Moment>,
}

impl Hidden {
    /// Looks whether there is more. What is no longer quarantined was never forgotten to be there.
    pub(crate) async fn look(&mut self, engine: &Engine) -> Result<(), EngineError> {
        let newest = engine.storage().read(async |conn: &mut Conn| verification::newest_quarantine(conn).await).await?;
        if newest > self.newest {
            let since = self.newest.map_or(Moment::from_micros(0), |seen| seen.minus(MARGIN));
            let mut after = None;
            loop {
                let page = async move |conn: &mut Conn| verification::hidden_claims(conn, since, after, ROWS).await;
                let page = engine.storage().read(page).await?;
                let Some(last) = page.last().copied() else { break };
                after = Some(last);
                for (cache, hash) in page {
                    engine.forget_published_path(cache, hash);
                }
            }
        }
        self.newest = newest;
        Ok(())
    }
}
