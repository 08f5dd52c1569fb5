use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildKind, BuildStatus, FailureKind, Moment, WorkerId};
use gradient_nix::StorePath;

use super::Build;
use crate::{
    Conn, FeatureList, StorageError, attempts,
    conn::query,
    derivations,
    error::found,
    ifd_builds,
    schema::{builds, derivations as derivation_rows},
};

/// A build of any kind, with what there is to say of its derivation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildView {
    /// Its id.
    pub id: BuildId,
    /// What it is for.
    pub kind: BuildKind,
    /// The derivation's name.
    pub name: String,
    /// The derivation's path.
    pub drv_path: StorePath,
    /// What it is built on.
    pub system: String,
    /// The system features it needs, sorted; of an import from derivation they are not known.
    pub features: Vec<String>,
    /// The outputs by name, with their paths where those are known; of an import from derivation none is.
    pub outputs: Vec<(String, Option<StorePath>)>,
    /// Where it stands.
    pub status: BuildStatus,
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
    /// How long the builder ran.
    pub duration_ms: Option<i64>,
}

/// The build with this id, which has to be there, with its derivation.
pub async fn view(conn: &mut Conn, id: BuildId) -> Result<BuildView, StorageError> {
    let row: Option<(Build, (String, StorePath, String, FeatureList))> = query!(&mut *conn, |c| {
        let columns = (derivation_rows::name, derivation_rows::drv_path, derivation_rows::system, derivation_rows::features);
        let joined = builds::table.inner_join(derivation_rows::table).filter(builds::id.eq(id));
        joined.select((Build::as_select(), columns)).first(c).await.optional()?
    });
    let Some((build, (name, drv_path, system, features))) = row else {
        return found(ifd_view(conn, id).await?, "build", id);
    };
    let outputs = derivations::outputs(conn, &[build.derivation]).await?.remove(&build.derivation).unwrap_or_default();
    Ok(BuildView {
        id,
        kind: BuildKind::Build,
        name,
        drv_path,
        system,
        features: features.0,
        outputs,
        status: build.status,
        worker: build.worker,
        failure_kind: build.failure_kind,
        failure_message: build.failure_message,
        failed_dependency: build.failed_dependency,
        queued_at: build.queued_at,
        started_at: build.started_at,
        finished_at: build.finished_at,
        duration_ms: build.duration_ms,
    })
}

async fn ifd_view(conn: &mut Conn, id: BuildId) -> Result<Option<BuildView>, StorageError> {
    let Some(build) = ifd_builds::lookup(conn, id).await? else { return Ok(None) };
    let attempt = attempts::lookup(conn, id, None).await?;
    let worker = attempt.as_ref().map(|attempt| attempt.worker);
    // Why it was stopped is said of the attempt.
    let failed = attempt.filter(|_| build.status == BuildStatus::Failed);
    let (failure_kind, failure_message) = failed.map_or((None, None), |attempt| (attempt.failure_kind, attempt.failure_message));
    Ok(Some(BuildView {
        id,
        kind: BuildKind::Ifd,
        name: build.name().to_owned(),
        drv_path: build.drv_path,
        system: build.system,
        features: Vec::new(),
        outputs: Vec::new(),
        status: build.status,
        worker,
        failure_kind,
        failure_message,
        failed_dependency: None,
        queued_at: build.started_at,
        started_at: Some(build.started_at),
        finished_at: build.finished_at,
        duration_ms: build.duration_ms,
    }))
}
