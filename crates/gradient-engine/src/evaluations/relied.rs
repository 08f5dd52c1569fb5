//! What evaluations found to be in upstreams, when others rely on it later.

use std::{collections::BTreeSet, time::Duration};

use gradient_domain::{EvaluationId, OrganizationId};
use gradient_storage::{Conn, builds, derivations};
use tokio::time::Instant;

use crate::{
    Engine, EngineError,
    substituter::{Found, Question},
};

/// How long upstreams are asked. Who does not answer takes nothing back.
const MAX_ASKING: Duration = Duration::from_secs(10);

/// Whether upstreams still have what another evaluation of the same would need of them.
pub(crate) async fn is_there(
    engine: &Engine,
    organization: OrganizationId,
    evaluation: EvaluationId,
) -> Result<bool, EngineError> {
    let look = async move |conn: &mut Conn| {
        let relied = builds::relied_upon(conn, evaluation).await?;
        let ids: Vec<_> = relied.iter().map(|relied| relied.derivation).collect();
        Ok((relied, derivations::outputs(conn, &ids).await?))
    };
    let (relied, mut outputs) = engine.storage().read(look).await?;
    if relied.is_empty() {
        return Ok(true);
    }
    let questions: Vec<Question> = relied
        .into_iter()
        .map(|relied| {
            let outputs = outputs.remove(&relied.derivation).unwrap_or_default();
            let outputs = outputs.into_iter().filter_map(|(_, path)| path).collect();
            Question { outputs, is_served: relied.is_entry_point }
        })
        .collect();
    let places = engine.substitutes(organization).await?;
    let until = Instant::now() + MAX_ASKING;
    let found = engine.find_substitutes(&places, &questions, until, &mut BTreeSet::new()).await?;
    Ok(!found.contains(&Found::Absent))
}
