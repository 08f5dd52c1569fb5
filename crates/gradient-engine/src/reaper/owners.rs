//! Deleted organizations, projects and caches, and the evaluations that go with them or are beyond what is kept.

use gradient_domain::{EvaluationId, OrganizationId, ProjectId};
use gradient_storage::{Conn, remains};

use super::{ROWS, step};
use crate::{Engine, EngineError};

/// Evaluations at a time; each has many rows.
const EVALUATIONS: i64 = 20;

/// Whose evaluations go.
#[derive(Clone, Copy)]
enum Of {
    DeletedOrganization(OrganizationId),
    DeletedProject(ProjectId),
    /// All but so many.
    Project(ProjectId, i32),
    /// Those of direct builds, all but so many.
    Direct(OrganizationId, u32),
}

/// Removes the evaluations that nobody is to see any more.
pub(super) async fn evaluations(engine: &Engine) -> Result<(), EngineError> {
    let keep_direct = engine.settings().keep_direct_builds;
    let list = async move |conn: &mut Conn| {
        let organizations = remains::deleted_organizations(conn).await?.into_iter().map(Of::DeletedOrganization);
        let mut all: Vec<Of> = organizations.collect();
        all.extend(remains::deleted_projects(conn).await?.into_iter().map(Of::DeletedProject));
        all.extend(remains::retentions(conn).await?.into_iter().map(|(project, keep)| Of::Project(project, keep)));
        all.extend(remains::direct_builders(conn).await?.into_iter().map(|id| Of::Direct(id, keep_direct)));
        Ok(all)
    };
    for of in engine.storage().read(list).await? {
        loop {
            let found = superfluous(engine, of).await?;
            if found.is_empty() {
                break;
            }
            for id in found {
                while step(engine, async move |conn: &mut Conn| remains::delete_evaluation_part(conn, id, ROWS).await).await? > 0
                {
                }
            }
        }
    }
    Ok(())
}

async fn superfluous(engine: &Engine, of: Of) -> Result<Vec<EvaluationId>, EngineError> {
    let find = async move |conn: &mut Conn| match of {
        Of::DeletedOrganization(id) => remains::deletable_of_organization(conn, id, EVALUATIONS).await,
        Of::DeletedProject(id) => remains::deletable_of_project(conn, id, EVALUATIONS).await,
        Of::Project(id, keep) => remains::superfluous(conn, id, keep, EVALUATIONS).await,
        Of::Direct(id, keep) => remains::superfluous_direct(conn, id, keep, EVALUATIONS).await,
    };
    Ok(engine.storage().read(find).await?)
}

/// Removes what was deleted and has come to have nothing left, together with what only it had.
pub(super) async fn remove(engine: &Engine) -> Result<(), EngineError> {
    for id in engine.storage().read(async |conn: &mut Conn| remains::deleted_caches(conn).await).await? {
        while step(engine, async move |conn: &mut Conn| remains::delete_cache_paths(conn, id, ROWS).await).await? > 0 {}
        while step(engine, async move |conn: &mut Conn| remains::delete_uploaded_logs(conn, id, ROWS).await).await? > 0 {}
        step(engine, async move |conn: &mut Conn| remains::delete_cache(conn, id).await).await?;
    }
    for id in engine.storage().read(async |conn: &mut Conn| remains::deleted_projects(conn).await).await? {
        step(engine, async move |conn: &mut Conn| remains::delete_project(conn, id).await).await?;
    }
    for id in engine.storage().read(async |conn: &mut Conn| remains::deleted_organizations(conn).await).await? {
        while step(engine, async move |conn: &mut Conn| remains::delete_organization_paths(conn, id, ROWS).await).await? > 0 {}
        step(engine, async move |conn: &mut Conn| remains::delete_organization(conn, id).await).await?;
    }
    Ok(())
}
