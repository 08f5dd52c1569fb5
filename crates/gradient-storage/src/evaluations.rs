//! Evaluations: one commit, what it became, and how far it is.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{
    BuildStatus, CommitId, Epoch, EvaluationId, EvaluationStatus, EvaluationWait, FailureKind, Moment, OrganizationId, Priority,
    ProjectId, Publish, UserId, WorkerId, sql::Document,
};
use gradient_nix::{NarHash, StorePath};
use serde::{Deserialize, Serialize};

use crate::{
    Conn, StorageError,
    conn::query,
    error::found,
    schema::{builds as build_rows, commits, evaluation_builds, evaluation_counters, evaluations},
};

mod builds;
mod counts;
mod direct;
mod entry_points;
mod messages;
mod progress;

pub use builds::{BuildSummary, begun_builds, builds, needs};
pub use counts::{BuildCounts, EntryPointCounts};
pub use direct::recent_direct;
pub use entry_points::{
    EntryPointBuild, EntryPointView, NewEntryPoint, asked_times, attributes, entry_point_builds, entry_points,
    insert_entry_points,
};
pub use messages::{EvaluationMessage, NewMessage, insert_messages, messages};
pub use progress::{assign, forget_findings, set_error, set_error_unless_known, set_sealed, set_source, set_status, touch};

/// One evaluation.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = evaluations)]
pub struct Evaluation {
    /// Its id; later ones are greater.
    pub id: EvaluationId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// The project, when it is one's.
    pub project: Option<ProjectId>,
    /// Where the commit is.
    pub repository: String,
    /// The commit.
    pub commit: CommitId,
    /// Which attributes are built, as the project had it then.
    pub wildcard: String,
    /// Where it stands.
    pub status: EvaluationStatus,
    /// Why it is `Waiting`.
    pub waiting: Option<Document<EvaluationWait>>,
    /// Why it could not be evaluated.
    pub error: Option<String>,
    /// How many of its messages are errors.
    pub error_count: i32,
    /// How many of its messages are warnings.
    pub warning_count: i32,
    /// Who started it; none when it started by itself.
    pub triggered_by: Option<UserId>,
    /// How early its builds come.
    pub priority: Priority,
    /// What the caches get.
    pub publish: Publish,
    /// Whether evaluating may build.
    pub allow_ifd: bool,
    /// The project's evaluation before this one.
    pub previous: Option<EvaluationId>,
    /// The source, once it is fetched.
    pub source: Option<Document<SourceInfo>>,
    /// The newest assignment of the job that it is at.
    pub epoch: Epoch,
    /// Who has that job.
    pub worker: Option<WorkerId>,
    /// Whether all its derivations are known.
    pub sealed: bool,
    /// When it was asked for.
    pub created_at: Moment,
    /// When it last changed.
    pub updated_at: Moment,
    /// When it ended.
    pub finished_at: Option<Moment>,
    /// How many builds it needs, by status.
    #[diesel(embed)]
    pub builds: BuildCounts,
    /// How many entry points it has.
    #[diesel(embed)]
    pub entry_points: EntryPointCounts,
}

/// What is known of a fetched source tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInfo {
    /// Where it is in the store.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The commit, 40 hexadecimal digits.
    pub rev: Option<String>,
    /// How many commits lead to it.
    pub rev_count: Option<u64>,
    /// Seconds since 1970 of the commit.
    pub last_modified: Option<i64>,
}

/// An evaluation that nothing has happened to yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvaluation {
    /// Its id.
    pub id: EvaluationId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// The project, when it is one's.
    pub project: Option<ProjectId>,
    /// Where the commit is.
    pub repository: String,
    /// Which attributes are built.
    pub wildcard: String,
    /// How early its builds come.
    pub priority: Priority,
    /// What the caches get.
    pub publish: Publish,
    /// Whether evaluating may build.
    pub allow_ifd: bool,
    /// Who started it.
    pub triggered_by: Option<UserId>,
    /// When it was asked for.
    pub created_at: Moment,
}

macro_rules! all {
    () => {
        evaluations::table.inner_join(evaluation_counters::table)
    };
}

/// Adds an evaluation of a commit; it comes after the project's newest. To be called in a transaction.
pub async fn insert(conn: &mut Conn, new: NewEvaluation, commit: CommitId) -> Result<(), StorageError> {
    let previous = match new.project {
        Some(project) => last_id(conn, project).await?,
        None => None,
    };
    query!(&mut *conn, |c| {
        let row = (
            (
                evaluations::id.eq(new.id),
                evaluations::organization.eq(new.organization),
                evaluations::project.eq(new.project),
                evaluations::repository.eq(&new.repository),
                evaluations::commit.eq(commit),
                evaluations::wildcard.eq(&new.wildcard),
                evaluations::status.eq(EvaluationStatus::Queued),
                evaluations::error_count.eq(0),
                evaluations::warning_count.eq(0),
            ),
            (
                evaluations::triggered_by.eq(new.triggered_by),
                evaluations::priority.eq(new.priority),
                evaluations::publish.eq(new.publish),
                evaluations::allow_ifd.eq(new.allow_ifd),
                evaluations::previous.eq(previous),
                evaluations::epoch.eq(Epoch::NONE),
                evaluations::sealed.eq(false),
                evaluations::created_at.eq(new.created_at),
                evaluations::updated_at.eq(new.created_at),
            ),
        );
        diesel::insert_into(evaluations::table).values(row).execute(c).await?
    });
    query!(conn, |c| {
        let row = evaluation_counters::evaluation.eq(new.id);
        diesel::insert_into(evaluation_counters::table).values(row).execute(c).await?
    });
    Ok(())
}

/// The evaluation with this id.
pub async fn lookup(conn: &mut Conn, id: EvaluationId) -> Result<Option<Evaluation>, StorageError> {
    Ok(query!(conn, |c| { all!().filter(evaluations::id.eq(id)).select(Evaluation::as_select()).first(c).await.optional()? }))
}

/// The evaluation with this id, which has to be there.
pub async fn find(conn: &mut Conn, id: EvaluationId) -> Result<Evaluation, StorageError> {
    found(lookup(conn, id).await?, "evaluation", id)
}

/// A project's evaluations, newest first, and how many there are.
pub async fn page(conn: &mut Conn, project: ProjectId, limit: i64, offset: i64) -> Result<(Vec<Evaluation>, i64), StorageError> {
    let total = query!(&mut *conn, |c| {
        evaluations::table.filter(evaluations::project.eq(Some(project))).count().get_result(c).await?
    });
    let rows = query!(conn, |c| {
        let page = all!().filter(evaluations::project.eq(Some(project))).order(evaluations::id.desc());
        page.limit(limit).offset(offset).select(Evaluation::as_select()).load(c).await?
    });
    Ok((rows, total))
}

/// A project's newest evaluation.
pub async fn last(conn: &mut Conn, project: ProjectId) -> Result<Option<Evaluation>, StorageError> {
    match last_id(conn, project).await? {
        Some(id) => lookup(conn, id).await,
        None => Ok(None),
    }
}

/// A project's newest evaluation of the commit with this hash.
pub async fn last_of_commit(conn: &mut Conn, project: ProjectId, hash: &str) -> Result<Option<Evaluation>, StorageError> {
    let last: Option<EvaluationId> = query!(&mut *conn, |c| {
        let all = evaluations::table.inner_join(commits::table.on(commits::id.eq(evaluations::commit)));
        let all = all.filter(evaluations::project.eq(Some(project))).filter(commits::hash.eq(hash));
        all.order(evaluations::id.desc()).select(evaluations::id).first(c).await.optional()?
    });
    match last {
        Some(id) => lookup(conn, id).await,
        None => Ok(None),
    }
}

/// The newest evaluation that found what this one of the commit would find: of the same organization, attributes and rules, and all
/// of it without an error. Where there was a derivation that could not be built, a newer version may know how.
pub async fn last_alike(conn: &mut Conn, new: &NewEvaluation, commit: CommitId) -> Result<Option<Evaluation>, StorageError> {
    Ok(query!(conn, |c| {
        let all = all!().filter(evaluations::commit.eq(commit)).filter(evaluations::organization.eq(new.organization));
        let alike = all.filter(evaluations::wildcard.eq(&new.wildcard)).filter(evaluations::allow_ifd.eq(new.allow_ifd));
        let complete = alike.filter(evaluations::sealed).filter(evaluations::source.is_not_null());
        let flawless = complete.filter(evaluations::error_count.eq(0)).filter(evaluations::error.is_null());
        let refused =
            evaluation_builds::table.inner_join(build_rows::table).filter(evaluation_builds::evaluation.eq(evaluations::id));
        let refused = refused.filter(evaluation_builds::status.eq(BuildStatus::Failed));
        let refused = refused.filter(build_rows::failure_kind.eq(Some(FailureKind::UnsupportedDerivation)));
        let flawless = flawless.filter(diesel::dsl::not(diesel::dsl::exists(refused)));
        flawless.order(evaluations::id.desc()).select(Evaluation::as_select()).first(c).await.optional()?
    }))
}

/// The id of a project's newest evaluation.
pub async fn last_id(conn: &mut Conn, project: ProjectId) -> Result<Option<EvaluationId>, StorageError> {
    Ok(query!(conn, |c| {
        let all = evaluations::table.filter(evaluations::project.eq(Some(project))).order(evaluations::id.desc());
        all.select(evaluations::id).first(c).await.optional()?
    }))
}

/// The evaluation that came after this one.
pub async fn next(conn: &mut Conn, id: EvaluationId) -> Result<Option<EvaluationId>, StorageError> {
    Ok(query!(conn, |c| {
        let after = evaluations::table.filter(evaluations::previous.eq(Some(id))).order(evaluations::id);
        after.select(evaluations::id).first(c).await.optional()?
    }))
}

/// The evaluations that have not ended, oldest first.
pub async fn unfinished(conn: &mut Conn) -> Result<Vec<Evaluation>, StorageError> {
    Ok(query!(conn, |c| {
        let open = all!().filter(evaluations::finished_at.is_null()).order(evaluations::id);
        open.select(Evaluation::as_select()).load(c).await?
    }))
}

/// A project's evaluations that have not ended, oldest first.
pub async fn unfinished_of_project(conn: &mut Conn, project: ProjectId) -> Result<Vec<EvaluationId>, StorageError> {
    Ok(query!(conn, |c| {
        let open = evaluations::table.filter(evaluations::finished_at.is_null());
        let open = open.filter(evaluations::project.eq(Some(project))).order(evaluations::id);
        open.select(evaluations::id).load(c).await?
    }))
}

/// An organization's evaluations that have not ended, oldest first.
pub async fn unfinished_of_organization(
    conn: &mut Conn,
    organization: OrganizationId,
) -> Result<Vec<EvaluationId>, StorageError> {
    Ok(query!(conn, |c| {
        let open = evaluations::table.filter(evaluations::finished_at.is_null());
        let open = open.filter(evaluations::organization.eq(organization)).order(evaluations::id);
        open.select(evaluations::id).load(c).await?
    }))
}

/// Whether a project has evaluated a commit.
pub async fn is_evaluated(conn: &mut Conn, project: ProjectId, commit: CommitId) -> Result<bool, StorageError> {
    Ok(query!(conn, |c| {
        let all = evaluations::table.filter(evaluations::commit.eq(commit)).filter(evaluations::project.eq(Some(project)));
        diesel::select(diesel::dsl::exists(all.select(evaluations::id))).get_result(c).await?
    }))
}
