//! The commits that were evaluated.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CommitId, Moment, OrganizationId};

use crate::{
    Conn, StorageError,
    conn::query,
    error::found,
    schema::{commits, evaluations},
};

/// One commit of a repository, as one organization saw it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = commits, treat_none_as_default_value = false)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// Who saw it.
    pub organization: OrganizationId,
    /// Where.
    pub repository: String,
    /// 40 hexadecimal digits.
    pub hash: String,
    /// What its author says of it; may be empty.
    pub message: String,
    /// Its author, where known.
    pub author_name: Option<String>,
    /// When it was first seen.
    pub created_at: Moment,
}

/// The commit, as it is there already or, when it is new, as given.
pub async fn claim(conn: &mut Conn, commit: &Commit) -> Result<Commit, StorageError> {
    query!(&mut *conn, |c| diesel::insert_into(commits::table).values(commit).on_conflict_do_nothing().execute(c).await?);
    let there = lookup_by_hash(conn, commit.organization, &commit.repository, &commit.hash).await?;
    found(there, "commit", &commit.hash)
}

/// The commit that an organization saw in a repository.
pub async fn lookup_by_hash(
    conn: &mut Conn,
    organization: OrganizationId,
    repository: &str,
    hash: &str,
) -> Result<Option<Commit>, StorageError> {
    Ok(query!(conn, |c| {
        let one = commits::table.filter(commits::organization.eq(organization));
        let one = one.filter(commits::repository.eq(repository)).filter(commits::hash.eq(hash));
        one.select(Commit::as_select()).first(c).await.optional()?
    }))
}

/// The commit with this id.
pub async fn lookup(conn: &mut Conn, id: CommitId) -> Result<Option<Commit>, StorageError> {
    Ok(query!(conn, |c| commits::table.find(id).select(Commit::as_select()).first(c).await.optional()?))
}

/// Whether an evaluation refers to a commit.
pub async fn is_evaluated(conn: &mut Conn, id: CommitId) -> Result<bool, StorageError> {
    Ok(query!(conn, |c| {
        let of_it = evaluations::table.filter(evaluations::commit.eq(id)).select(evaluations::id);
        diesel::select(diesel::dsl::exists(of_it)).get_result(c).await?
    }))
}

/// These commits.
pub async fn list(conn: &mut Conn, ids: &[CommitId]) -> Result<Vec<Commit>, StorageError> {
    Ok(query!(conn, |c| commits::table.filter(commits::id.eq_any(ids)).select(Commit::as_select()).load(c).await?))
}

/// The commit with this id, which has to be there.
pub async fn find(conn: &mut Conn, id: CommitId) -> Result<Commit, StorageError> {
    found(lookup(conn, id).await?, "commit", id)
}
