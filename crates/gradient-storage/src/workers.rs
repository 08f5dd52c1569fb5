//! Which workers may work for which organization, and the tokens that prove it.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{DisplayName, Moment, OrganizationId, UserId, WorkerId};

use crate::{
    Conn, Digest, StorageError,
    conn::query,
    error::{found, hit, naming},
    schema::{organizations, worker_registrations},
};

/// What lets one worker work for one organization.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = worker_registrations, treat_none_as_default_value = false)]
pub struct WorkerRegistration {
    /// For whom it may work.
    pub organization: OrganizationId,
    /// The worker.
    pub worker: WorkerId,
    /// What people read.
    pub display_name: DisplayName,
    /// The SHA-256 of its token.
    pub token_hash: Digest,
    /// Whether it may fetch sources.
    pub enable_fetch: bool,
    /// Whether it may evaluate.
    pub enable_eval: bool,
    /// Whether it may build.
    pub enable_build: bool,
    /// When it was registered.
    pub registered_at: Moment,
    /// Who registered it.
    pub created_by: Option<UserId>,
}

/// What of a registration changes; `None` keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, AsChangeset)]
#[diesel(table_name = worker_registrations)]
pub struct WorkerChanges {
    /// A new name to read.
    pub display_name: Option<DisplayName>,
    /// Whether it may fetch from now on.
    pub enable_fetch: Option<bool>,
    /// Whether it may evaluate from now on.
    pub enable_eval: Option<bool>,
    /// Whether it may build from now on.
    pub enable_build: Option<bool>,
}

/// Adds a registration; `AlreadyExists` when the organization has the worker.
pub async fn insert(conn: &mut Conn, registration: &WorkerRegistration) -> Result<(), StorageError> {
    query!(conn, |c| {
        let insert = diesel::insert_into(worker_registrations::table).values(registration);
        insert.execute(c).await.map_err(naming("worker"))?
    });
    Ok(())
}

/// The workers of an organization, in the order they were registered.
pub async fn list(conn: &mut Conn, organization: OrganizationId) -> Result<Vec<WorkerRegistration>, StorageError> {
    Ok(query!(conn, |c| {
        let all = worker_registrations::table.filter(worker_registrations::organization.eq(organization));
        let all = all.order((worker_registrations::registered_at, worker_registrations::worker));
        all.select(WorkerRegistration::as_select()).load(c).await?
    }))
}

/// One worker of an organization.
pub async fn lookup(
    conn: &mut Conn,
    organization: OrganizationId,
    worker: WorkerId,
) -> Result<Option<WorkerRegistration>, StorageError> {
    Ok(query!(conn, |c| {
        let one = worker_registrations::table.find((organization, worker));
        one.select(WorkerRegistration::as_select()).first(c).await.optional()?
    }))
}

/// The registrations of a worker, over all organizations.
pub async fn lookup_by_worker(conn: &mut Conn, worker: WorkerId) -> Result<Vec<WorkerRegistration>, StorageError> {
    Ok(query!(conn, |c| {
        let all = worker_registrations::table.inner_join(organizations::table);
        let all = all.filter(worker_registrations::worker.eq(worker)).filter(organizations::deleted_at.is_null());
        all.order(organizations::id).select(WorkerRegistration::as_select()).load(c).await?
    }))
}

/// Changes a registration.
pub async fn set(
    conn: &mut Conn,
    organization: OrganizationId,
    worker: WorkerId,
    changes: &WorkerChanges,
) -> Result<(), StorageError> {
    if *changes == WorkerChanges::default() {
        return found(lookup(conn, organization, worker).await?, "worker", worker).map(drop);
    }
    let rows = query!(conn, |c| {
        diesel::update(worker_registrations::table.find((organization, worker))).set(changes).execute(c).await?
    });
    hit(rows, "worker", worker)
}

/// Removes all registrations of an organization.
pub async fn delete_all(conn: &mut Conn, organization: OrganizationId) -> Result<(), StorageError> {
    query!(conn, |c| {
        let all = worker_registrations::table.filter(worker_registrations::organization.eq(organization));
        diesel::delete(all).execute(c).await?
    });
    Ok(())
}

/// Removes a registration.
pub async fn delete(conn: &mut Conn, organization: OrganizationId, worker: WorkerId) -> Result<(), StorageError> {
    let rows = query!(conn, |c| diesel::delete(worker_registrations::table.find((organization, worker))).execute(c).await?);
    hit(rows, "worker", worker)
}
