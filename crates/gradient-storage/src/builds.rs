//! Builds: a derivation to be built once for all evaluations of an organization that need it. A new generation is only made after
//! one that failed or was aborted, or whose outputs are gone.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, DerivationId, Epoch, EvaluationId, FailureKind, Moment, OrganizationId, WorkerId};

use crate::{
    Conn, StorageError,
    conn::{KEYS_PER_QUERY, insert_rows, query},
    counters,
    error::{found, naming},
    ifd_builds::{self, IfdBuild},
    schema::{builds, derivations, evaluation_builds, evaluations, ifd_builds as ifd_build_rows},
};

mod artefacts;
mod graph;
mod link;
mod moves;
mod published;
mod renew;
mod restore;
mod substituted;
mod view;

pub use artefacts::{BuildArtefact, artefacts, insert_artefacts, lookup_artefact};
pub use graph::{Graph, GraphEdge, GraphNode, dependencies, dependents, graph, names};
pub use link::{Level, link, succeeded};
pub use moves::{Completion, complete, complete_many, end_unassigned, set_status};
pub(crate) use moves::{Fits, Move, Wanted, make_many};
pub use published::{are_published, is_published, published_outputs};
pub use renew::{Renewal, any_renewable, renew};
pub use restore::{EvaluationEdges, EvaluationNodes, RestoredBuild, edges_of, nodes_of, of_evaluation, with_edges};
pub use substituted::{Relied, relied_upon};
pub use view::{BuildView, view};

/// One build.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = builds, treat_none_as_default_value = false)]
pub struct Build {
    /// Its id; later ones are greater.
    pub id: BuildId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// What is built.
    pub derivation: DerivationId,
    /// Which one of the derivation's builds it is, from 1.
    pub generation: i32,
    /// Where it stands.
    pub status: BuildStatus,
    /// Its newest assignment.
    pub epoch: Epoch,
    /// Who has it, or had it last.
    pub worker: Option<WorkerId>,
    /// Why it failed.
    pub failure_kind: Option<FailureKind>,
    /// The same for a person.
    pub failure_message: Option<String>,
    /// With `DependencyFailed`: the build whose own failure is the reason.
    pub failed_dependency: Option<BuildId>,
    /// When it was made.
    pub queued_at: Moment,
    /// When its builder began.
    pub started_at: Option<Moment>,
    /// When it ended.
    pub finished_at: Option<Moment>,
    /// When its status last changed.
    pub updated_at: Moment,
    /// How long the builder ran.
    pub duration_ms: Option<i64>,
    /// Whether it has something to download.
    pub has_artefacts: bool,
}

/// A build that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBuild {
    /// Its id.
    pub id: BuildId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// What is built.
    pub derivation: DerivationId,
    /// Which one of the derivation's builds it is, from 1.
    pub generation: i32,
    /// How it begins.
    pub beginning: Beginning,
    /// When it was made.
    pub queued_at: Moment,
}

/// How a build begins: most wait for a worker, and for some this is the end already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// Somebody has to build it.
    Queued,
    /// An upstream has its outputs.
    Substituted,
    /// It can never be built, for this reason.
    Unsupported(String),
}

impl Beginning {
    const fn status(&self) -> BuildStatus {
        match self {
            Self::Queued => BuildStatus::Queued,
            Self::Substituted => BuildStatus::Substituted,
            Self::Unsupported(_) => BuildStatus::Failed,
        }
    }

    const fn failure(&self) -> Option<FailureKind> {
        match self {
            Self::Unsupported(_) => Some(FailureKind::UnsupportedDerivation),
            Self::Queued | Self::Substituted => None,
        }
    }
}

/// The newest build of a derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct LatestBuild {
    /// Its id.
    pub build: BuildId,
    /// Which one of the derivation's builds it is.
    pub generation: i32,
    /// Where it stands.
    pub status: BuildStatus,
    /// Its newest assignment.
    pub epoch: Epoch,
    /// Why it failed.
    pub failure: Option<FailureKind>,
}

impl LatestBuild {
    /// The build that a derivation has once this one is stored.
    pub fn of_new(new: &NewBuild) -> Self {
        Self {
            build: new.id,
            generation: new.generation,
            status: new.beginning.status(),
            epoch: Epoch::NONE,
            failure: new.beginning.failure(),
        }
    }

    /// Whether another evaluation may share it: it may yet succeed, it has, or it would fail again.
    pub fn is_reusable(&self) -> bool {
        match self.status {
            BuildStatus::Aborted => false,
            BuildStatus::Failed => self.failure.is_some_and(|kind| !kind.is_transient() && kind != FailureKind::Aborted),
            _ => true,
        }
    }

    /// Whether it has ended and has no outputs.
    pub fn has_failed(&self) -> bool {
        self.status.is_final() && !self.status.is_success()
    }
}

/// Adds builds; `AlreadyExists` when a derivation has one of that generation.
pub async fn insert_many(conn: &mut Conn, new: Vec<NewBuild>) -> Result<(), StorageError> {
    let rows = new.into_iter().map(|new| {
        let (status, failure_kind) = (new.beginning.status(), new.beginning.failure());
        let failure_message = match new.beginning {
            Beginning::Unsupported(reason) => Some(reason),
            Beginning::Queued | Beginning::Substituted => None,
        };
        Build {
            id: new.id,
            organization: new.organization,
            derivation: new.derivation,
            generation: new.generation,
            status,
            epoch: Epoch::NONE,
            worker: None,
            failure_kind,
            failure_message,
            failed_dependency: None,
            queued_at: new.queued_at,
            started_at: None,
            finished_at: status.is_final().then_some(new.queued_at),
            updated_at: new.queued_at,
            duration_ms: None,
            has_artefacts: false,
        }
    });
    insert_build_rows(conn, rows).await.map_err(naming("build"))
}

/// Keeps other transactions from adding and moving builds until this one ends. To be called first in a transaction that adds
/// builds after looking which there are, and whether they have ended.
///
/// Such a transaction asks for many keys at once. A plan that PostgreSQL made for any keys reads the whole table for them, and
/// compares each row with each key.
pub async fn lock(conn: &mut Conn) -> Result<(), StorageError> {
    query!(
        &mut *conn,
        postgres | c | diesel::sql_query("SET LOCAL plan_cache_mode = force_custom_plan").execute(c).await.map(drop)?,
        sqlite | _c | (),
    );
    counters::lock(conn).await
}

async fn insert_build_rows(conn: &mut Conn, rows: impl Iterator<Item = Build> + Send) -> QueryResult<()> {
    insert_rows!(conn, builds::table, 16, rows);
    Ok(())
}

/// The build with this id.
pub async fn lookup(conn: &mut Conn, id: BuildId) -> Result<Option<Build>, StorageError> {
    Ok(query!(conn, |c| builds::table.find(id).select(Build::as_select()).first(c).await.optional()?))
}

/// The build with this id, which has to be there.
pub async fn find(conn: &mut Conn, id: BuildId) -> Result<Build, StorageError> {
    found(lookup(conn, id).await?, "build", id)
}

/// The name of the derivation of a build of any kind.
pub async fn name(conn: &mut Conn, id: BuildId) -> Result<String, StorageError> {
    let name: Option<String> = query!(&mut *conn, |c| {
        let one = builds::table.inner_join(derivations::table).filter(builds::id.eq(id));
        one.select(derivations::name).first(c).await.optional()?
    });
    match name {
        Some(name) => Ok(name),
        None => Ok(imported(conn, id).await?.name().to_owned()),
    }
}

/// Whether a build of any kind has ended.
pub async fn has_ended(conn: &mut Conn, id: BuildId) -> Result<bool, StorageError> {
    let status = match lookup(conn, id).await? {
        Some(build) => build.status,
        None => imported(conn, id).await?.status,
    };
    Ok(status.is_final())
}

async fn imported(conn: &mut Conn, id: BuildId) -> Result<IfdBuild, StorageError> {
    found(ifd_builds::lookup(conn, id).await?, "build", id)
}

/// Whose a build of any kind is.
pub async fn organization(conn: &mut Conn, id: BuildId) -> Result<Option<OrganizationId>, StorageError> {
    let organization: Option<OrganizationId> =
        query!(&mut *conn, |c| builds::table.find(id).select(builds::organization).first(c).await.optional()?);
    if organization.is_some() {
        return Ok(organization);
    }
    Ok(query!(conn, |c| {
        let one = ifd_build_rows::table.inner_join(evaluations::table).filter(ifd_build_rows::id.eq(id));
        one.select(evaluations::organization).first(c).await.optional()?
    }))
}

/// The newest builds of those of the derivations that have one.
pub async fn latest(conn: &mut Conn, derivations: &[DerivationId]) -> Result<HashMap<DerivationId, LatestBuild>, StorageError> {
    let mut latest = HashMap::with_capacity(derivations.len());
    for chunk in derivations.chunks(KEYS_PER_QUERY) {
        let rows: Vec<(DerivationId, LatestBuild)> = query!(&mut *conn, |c| {
            let columns = (builds::id, builds::generation, builds::status, builds::epoch, builds::failure_kind);
            let all = builds::table.filter(builds::derivation.eq_any(chunk)).order((builds::derivation, builds::generation));
            all.select((builds::derivation, columns)).load(c).await?
        });
        // Later generations overwrite earlier ones.
        latest.extend(rows);
    }
    Ok(latest)
}

/// Where these builds stand.
pub async fn statuses(conn: &mut Conn, ids: &[BuildId]) -> Result<HashMap<BuildId, BuildStatus>, StorageError> {
    let mut statuses = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(KEYS_PER_QUERY) {
        let rows: Vec<(BuildId, BuildStatus)> = query!(&mut *conn, |c| {
            builds::table.filter(builds::id.eq_any(chunk)).select((builds::id, builds::status)).load(c).await?
        });
        statuses.extend(rows);
    }
    Ok(statuses)
}

/// The builds that have not ended, oldest first.
pub async fn unfinished(conn: &mut Conn) -> Result<Vec<BuildId>, StorageError> {
    Ok(query!(conn, |c| {
        let open = builds::table.filter(builds::finished_at.is_null()).order(builds::id);
        open.select(builds::id).load(c).await?
    }))
}

/// The newest evaluation that needs a build, or the one that imports from it.
pub async fn newest_evaluation(conn: &mut Conn, id: BuildId) -> Result<Option<EvaluationId>, StorageError> {
    if let Some(build) = ifd_builds::lookup(conn, id).await? {
        return Ok(Some(build.evaluation));
    }
    Ok(query!(conn, |c| {
        let links = evaluation_builds::table.filter(evaluation_builds::build.eq(id));
        links.select(evaluation_builds::evaluation).order(evaluation_builds::evaluation.desc()).first(c).await.optional()?
    }))
}
