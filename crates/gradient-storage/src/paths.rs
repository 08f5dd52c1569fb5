//! What an organization's workers may fetch, and what they have uploaded for builds that have not ended.

use std::collections::HashSet;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, Epoch, Moment, OrganizationId};
use gradient_nix::{NarHash, StorePath};

use crate::{
    Conn, PathList, StorageError,
    conn::{KEYS_PER_QUERY, insert_rows, query},
    schema::{nars, organization_paths, staged_outputs},
};

/// A store path in an organization's scope.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct OrganizationPath {
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The size of its NAR in bytes.
    pub nar_size: i64,
    /// What it refers to, itself included where it does.
    #[diesel(deserialize_as = PathList)]
    pub references: Vec<StorePath>,
    /// The derivation that it is an output of.
    pub deriver: Option<StorePath>,
    /// Its content address, in Nix's notation.
    pub content_address: Option<String>,
}

/// A store path that comes into an organization's scope. Its NAR is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrganizationPath {
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// What it refers to, itself included where it does.
    pub references: Vec<StorePath>,
    /// The derivation that it is an output of.
    pub deriver: Option<StorePath>,
    /// Its content address, in Nix's notation.
    pub content_address: Option<String>,
}

/// An output that was uploaded for an attempt at a build.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct StagedOutput {
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The size of its NAR in bytes.
    pub nar_size: i64,
    /// What it refers to, itself included where it does.
    #[diesel(deserialize_as = PathList)]
    pub references: Vec<StorePath>,
    /// Its content address, in Nix's notation.
    pub content_address: Option<String>,
    /// The beginning of the file in which it declares build products; empty when it has none.
    pub build_products: Vec<u8>,
}

/// An output that is not staged yet. Its NAR is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStagedOutput {
    /// The build.
    pub build: BuildId,
    /// The attempt.
    pub epoch: Epoch,
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// What it refers to, itself included where it does.
    pub references: Vec<StorePath>,
    /// Its content address, in Nix's notation.
    pub content_address: Option<String>,
    /// The beginning of the file in which it declares build products; empty when it has none.
    pub build_products: Vec<u8>,
}

/// Those of the paths that are in the organization's scope.
pub async fn find_many(
    conn: &mut Conn,
    organization: OrganizationId,
    paths: &[StorePath],
) -> Result<Vec<OrganizationPath>, StorageError> {
    let mut found = Vec::with_capacity(paths.len());
    for chunk in paths.chunks(KEYS_PER_QUERY) {
        let rows: Vec<OrganizationPath> = query!(&mut *conn, |c| {
            organization_paths::table
                .inner_join(nars::table)
                .filter(organization_paths::organization.eq(organization))
                .filter(organization_paths::path.eq_any(chunk))
                .filter(nars::quarantined_at.is_null())
                .select((
                    organization_paths::path,
                    organization_paths::nar_hash,
                    nars::nar_size,
                    organization_paths::reference_list,
                    organization_paths::deriver,
                    organization_paths::content_address,
                ))
                .load(c)
                .await?
        });
        found.extend(rows);
    }
    Ok(found)
}

/// Those of the paths that are not in the organization's scope, in the order given.
pub async fn missing(conn: &mut Conn, organization: OrganizationId, paths: &[StorePath]) -> Result<Vec<StorePath>, StorageError> {
    let mut there: HashSet<StorePath> = HashSet::with_capacity(paths.len());
    for chunk in paths.chunks(KEYS_PER_QUERY) {
        let rows: Vec<StorePath> = query!(&mut *conn, |c| {
            let scope = organization_paths::table.inner_join(nars::table);
            let scope = scope.filter(organization_paths::organization.eq(organization)).filter(nars::quarantined_at.is_null());
            scope.filter(organization_paths::path.eq_any(chunk)).select(organization_paths::path).load(c).await?
        });
        there.extend(rows);
    }
    Ok(paths.iter().filter(|path| !there.contains(path)).cloned().collect())
}

/// Brings paths into an organization's scope; those that are there stay as they are.
pub async fn insert_many(
    conn: &mut Conn,
    organization: OrganizationId,
    mut new: Vec<NewOrganizationPath>,
    now: Moment,
) -> Result<(), StorageError> {
    let all: Vec<StorePath> = new.iter().map(|new| new.path.clone()).collect();
    for chunk in all.chunks(KEYS_PER_QUERY) {
        // What comes now may be another content than what nobody has any more.
        query!(&mut *conn, |c| {
            let hidden = nars::table.filter(nars::quarantined_at.is_not_null()).select(nars::nar_hash);
            let some = organization_paths::table.filter(organization_paths::organization.eq(organization));
            let some = some.filter(organization_paths::path.eq_any(chunk)).filter(organization_paths::nar_hash.eq_any(hidden));
            diesel::delete(some).execute(c).await?
        });
    }
    // Always in the same order, so that two transactions with the same paths wait for each other rather than lock each other out.
    new.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let rows = new.into_iter().map(|new| {
        (
            organization_paths::organization.eq(organization),
            organization_paths::path.eq(new.path),
            organization_paths::nar_hash.eq(new.nar_hash),
            organization_paths::reference_list.eq(PathList(new.references)),
            organization_paths::deriver.eq(new.deriver),
            organization_paths::content_address.eq(new.content_address),
            organization_paths::created_at.eq(now),
        )
    });
    insert_rows!(conn, organization_paths::table, 7, rows, or ignore);
    Ok(())
}

/// Keeps an uploaded output until its build ends; a second upload of the same path takes the place of the first.
pub async fn stage(conn: &mut Conn, new: NewStagedOutput, now: Moment) -> Result<(), StorageError> {
    let references = PathList(new.references);
    query!(conn, |c| {
        let content = (
            staged_outputs::nar_hash.eq(new.nar_hash),
            staged_outputs::reference_list.eq(&references),
            staged_outputs::content_address.eq(&new.content_address),
            staged_outputs::build_products.eq(&new.build_products),
            staged_outputs::created_at.eq(now),
        );
        let key = (staged_outputs::build.eq(new.build), staged_outputs::epoch.eq(new.epoch), staged_outputs::path.eq(&new.path));
        diesel::insert_into(staged_outputs::table)
            .values((key, content))
            .on_conflict((staged_outputs::build, staged_outputs::epoch, staged_outputs::path))
            .do_update()
            .set(content)
            .execute(c)
            .await?
    });
    Ok(())
}

/// What was uploaded for an attempt, by path.
pub async fn list_staged(conn: &mut Conn, build: BuildId, epoch: Epoch) -> Result<Vec<StagedOutput>, StorageError> {
    Ok(query!(conn, |c| {
        staged_outputs::table
            .inner_join(nars::table)
            .filter(staged_outputs::build.eq(build))
            .filter(staged_outputs::epoch.eq(epoch))
            .filter(nars::quarantined_at.is_null())
            .order(staged_outputs::path)
            .select((
                staged_outputs::path,
                staged_outputs::nar_hash,
                nars::nar_size,
                staged_outputs::reference_list,
                staged_outputs::content_address,
                staged_outputs::build_products,
            ))
            .load(c)
            .await?
    }))
}

/// Forgets what was uploaded for a build, for all its attempts.
pub async fn delete_staged(conn: &mut Conn, build: BuildId) -> Result<usize, StorageError> {
    delete_staged_of(conn, &[build]).await
}

/// The same of several builds.
pub async fn delete_staged_of(conn: &mut Conn, builds: &[BuildId]) -> Result<usize, StorageError> {
    let mut deleted = 0;
    for chunk in builds.chunks(KEYS_PER_QUERY) {
        deleted += query!(&mut *conn, |c| {
            diesel::delete(staged_outputs::table.filter(staged_outputs::build.eq_any(chunk))).execute(c).await?
        });
    }
    Ok(deleted)
}
