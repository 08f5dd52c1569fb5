use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::OrganizationId;

use super::Evaluation;
use crate::{
    Conn, StorageError,
    conn::query,
    schema::{evaluation_counters, evaluations},
};

/// The newest evaluations of these organizations that are no project's, newest first.
pub async fn recent_direct(
    conn: &mut Conn,
    organizations: &[OrganizationId],
    limit: i64,
) -> Result<Vec<Evaluation>, StorageError> {
    Ok(query!(conn, |c| {
        let all = evaluations::table.inner_join(evaluation_counters::table).filter(evaluations::project.is_null());
        let newest = all.filter(evaluations::organization.eq_any(organizations)).order(evaluations::id.desc()).limit(limit);
        newest.select(Evaluation::as_select()).load(c).await?
    }))
}
