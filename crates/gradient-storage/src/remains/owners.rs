use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheId, OrganizationId, ProjectId, UploadedLogId};
use gradient_nix::{StorePath, StorePathHash};

use crate::{
    Conn, StorageError,
    conn::query,
    schema::{
        builds, cache_paths, caches, commits, derivations, evaluations, organization_paths, organizations, projects,
        uploaded_logs,
    },
};

/// How many evaluations each project keeps.
pub async fn retentions(conn: &mut Conn) -> Result<Vec<(ProjectId, i32)>, StorageError> {
    Ok(query!(conn, |c| {
        let kept = projects::table.filter(projects::deleted_at.is_null());
        kept.select((projects::id, projects::keep_evaluations)).order(projects::id).load(c).await?
    }))
}

/// The organizations that have evaluations of direct builds.
pub async fn direct_builders(conn: &mut Conn) -> Result<Vec<OrganizationId>, StorageError> {
    Ok(query!(conn, |c| {
        let direct = evaluations::table.filter(evaluations::project.is_null());
        direct.select(evaluations::organization).distinct().load(c).await?
    }))
}

/// The projects that were deleted and of which something is left.
pub async fn deleted_projects(conn: &mut Conn) -> Result<Vec<ProjectId>, StorageError> {
    Ok(query!(conn, |c| {
        projects::table.filter(projects::deleted_at.is_not_null()).select(projects::id).order(projects::id).load(c).await?
    }))
}

/// The organizations that were deleted and of which something is left.
pub async fn deleted_organizations(conn: &mut Conn) -> Result<Vec<OrganizationId>, StorageError> {
    Ok(query!(conn, |c| {
        let deleted = organizations::table.filter(organizations::deleted_at.is_not_null());
        deleted.select(organizations::id).order(organizations::id).load(c).await?
    }))
}

/// The caches that were deleted and of which something is left.
pub async fn deleted_caches(conn: &mut Conn) -> Result<Vec<CacheId>, StorageError> {
    Ok(query!(conn, |c| {
        caches::table.filter(caches::deleted_at.is_not_null()).select(caches::id).order(caches::id).load(c).await?
    }))
}

/// Removes a deleted project that has no evaluation any more. Whether it is gone.
pub async fn delete_project(conn: &mut Conn, id: ProjectId) -> Result<bool, StorageError> {
    let rows = query!(conn, |c| {
        let deleted = projects::table.find(id).filter(projects::deleted_at.is_not_null());
        let left = evaluations::table.filter(evaluations::project.eq(projects::id.nullable()));
        diesel::delete(deleted.filter(not(exists(left)))).execute(c).await?
    });
    Ok(rows > 0)
}

/// Removes a deleted organization of which nothing large is left. Whether it is gone, with its members, roles and projects.
pub async fn delete_organization(conn: &mut Conn, id: OrganizationId) -> Result<bool, StorageError> {
    let rows = query!(conn, |c| {
        let deleted = organizations::table.find(id).filter(organizations::deleted_at.is_not_null());
        let deleted = deleted
            .filter(not(exists(evaluations::table.filter(evaluations::organization.eq(organizations::id)))))
            .filter(not(exists(builds::table.filter(builds::organization.eq(organizations::id)))))
            .filter(not(exists(derivations::table.filter(derivations::organization.eq(organizations::id)))))
            .filter(not(exists(commits::table.filter(commits::organization.eq(organizations::id)))))
            .filter(not(exists(organization_paths::table.filter(organization_paths::organization.eq(organizations::id)))));
        diesel::delete(deleted).execute(c).await?
    });
    Ok(rows > 0)
}

/// Removes paths from a deleted organization's scope. How many there were.
pub async fn delete_organization_paths(conn: &mut Conn, id: OrganizationId, limit: i64) -> Result<usize, StorageError> {
    let paths: Vec<StorePath> = query!(&mut *conn, |c| {
        let scope = organization_paths::table.filter(organization_paths::organization.eq(id));
        scope.select(organization_paths::path).limit(limit).load(c).await?
    });
    Ok(query!(conn, |c| {
        let scope = organization_paths::table.filter(organization_paths::organization.eq(id));
        diesel::delete(scope.filter(organization_paths::path.eq_any(&paths))).execute(c).await?
    }))
}

/// Takes claims from a deleted cache. How many there were.
pub async fn delete_cache_paths(conn: &mut Conn, id: CacheId, limit: i64) -> Result<usize, StorageError> {
    let hashes: Vec<StorePathHash> = query!(&mut *conn, |c| {
        cache_paths::table.filter(cache_paths::cache.eq(id)).select(cache_paths::hash).limit(limit).load(c).await?
    });
    Ok(query!(conn, |c| {
        let claims = cache_paths::table.filter(cache_paths::cache.eq(id));
        diesel::delete(claims.filter(cache_paths::hash.eq_any(&hashes))).execute(c).await?
    }))
}

/// Takes uploaded logs from a deleted cache, and puts them on the list of what the store has to lose. How many there were.
pub async fn delete_uploaded_logs(conn: &mut Conn, id: CacheId, limit: i64) -> Result<usize, StorageError> {
    let logs: Vec<(StorePath, UploadedLogId)> = query!(&mut *conn, |c| {
        let logs = uploaded_logs::table.filter(uploaded_logs::cache.eq(id));
        logs.select((uploaded_logs::derivation, uploaded_logs::id)).limit(limit).load(c).await?
    });
    for (derivation, log) in &logs {
        query!(&mut *conn, |c| diesel::delete(uploaded_logs::table.find((id, derivation))).execute(c).await?);
        crate::uploaded_logs::discard(conn, *log).await?;
    }
    Ok(logs.len())
}

/// Removes a deleted cache that publishes nothing any more. Whether it is gone, with its members and roles.
pub async fn delete_cache(conn: &mut Conn, id: CacheId) -> Result<bool, StorageError> {
    let rows = query!(conn, |c| {
        let deleted = caches::table.find(id).filter(caches::deleted_at.is_not_null());
        let paths = cache_paths::table.filter(cache_paths::cache.eq(caches::id));
        let logs = uploaded_logs::table.filter(uploaded_logs::cache.eq(caches::id));
        diesel::delete(deleted.filter(not(exists(paths))).filter(not(exists(logs)))).execute(c).await?
    });
    Ok(rows > 0)
}
