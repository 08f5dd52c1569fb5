//! What outputs of an organization's derivations turned out to be, where that is only known once they are built.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{Moment, OrganizationId};
use gradient_nix::StorePath;

use crate::{
    Conn, StorageError,
    conn::{KEYS_PER_QUERY, query},
    schema::realisations,
};

/// What an output turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Realisation {
    /// The name that caches serve it by.
    pub name: String,
    /// Where the output is.
    pub path: StorePath,
}

/// Keeps realisations; what was built last takes the place of what was built before.
pub async fn set_many(
    conn: &mut Conn,
    organization: OrganizationId,
    new: Vec<Realisation>,
    now: Moment,
) -> Result<(), StorageError> {
    for new in new {
        query!(&mut *conn, |c| {
            let content = (realisations::path.eq(&new.path), realisations::created_at.eq(now));
            diesel::insert_into(realisations::table)
                .values((realisations::organization.eq(organization), realisations::name.eq(&new.name), content))
                .on_conflict((realisations::organization, realisations::name))
                .do_update()
                .set(content)
                .execute(c)
                .await?
        });
    }
    Ok(())
}

/// Those of what these paths are.
pub async fn of_paths(
    conn: &mut Conn,
    organization: OrganizationId,
    paths: &[StorePath],
) -> Result<Vec<Realisation>, StorageError> {
    let mut found = Vec::new();
    for chunk in paths.chunks(KEYS_PER_QUERY) {
        let rows: Vec<Realisation> = query!(&mut *conn, |c| {
            let all = realisations::table.filter(realisations::organization.eq(organization));
            let these = all.filter(realisations::path.eq_any(chunk)).order(realisations::name);
            these.select((realisations::name, realisations::path)).load(c).await?
        });
        found.extend(rows);
    }
    Ok(found)
}
