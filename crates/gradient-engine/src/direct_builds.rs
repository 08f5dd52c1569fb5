//! Direct builds: somebody sends sources, and they are evaluated as a flake and built without any repository.
//!
//! The files go to the disk as they come. Once all are there, the tree becomes a NAR that is verified and stored like a source that
//! a worker fetched, and an evaluation without a project begins with it.

mod path;
mod sources;
mod tree;

use std::fmt::Write as _;

use gradient_auth::{Caller, OrganizationAccess};
use gradient_domain::{
    CommitId, Epoch, EvaluationId, EvaluationStatus, Moment, OrgPermission, OrganizationId, Priority, Publish, UserId, Wildcard,
};
use gradient_scheduler::{Event, NewEvaluation as Added, Stage};
use gradient_storage::{
    Conn,
    commits::{self, Commit},
    evaluations::{self, Evaluation, NewEvaluation, SourceInfo},
    organizations, paths,
};

pub use path::{SourcePath, SourcePathError};
pub use sources::{SourceError, Sources};

use crate::{Engine, EngineError, uploads};

/// What stands where other evaluations have the URL of a repository.
const REPOSITORY: &str = "direct";

/// How many recent direct builds are listed.
const RECENT: i64 = 20;

/// Sources to be built.
#[derive(Debug)]
pub struct DirectBuild {
    /// For whom.
    pub organization: OrganizationId,
    /// Which attributes of the flake that the sources are.
    pub wildcard: Wildcard,
    /// Who asks.
    pub triggered_by: Option<UserId>,
    /// All the files.
    pub sources: Sources,
}

impl Engine {
    /// Stores the sources and starts an evaluation of them. When it fails, nothing is left.
    pub async fn request_direct_build(&self, wanted: DirectBuild) -> Result<EvaluationId, EngineError> {
        let DirectBuild { organization, wildcard, triggered_by, sources } = wanted;
        let packed = sources.pack(self).await?;
        let (id, now, priority) = (EvaluationId::new(), Moment::now(), Priority::default());
        let commit = Commit {
            id: CommitId::new(),
            organization,
            repository: REPOSITORY.to_owned(),
            // There is no commit: as many digits that tell these sources from others stand for it.
            hash: hex(packed.path.path.hash().as_bytes()),
            message: format!("direct build of {wildcard}"),
            author_name: None,
            created_at: now,
        };
        let row = NewEvaluation {
            id,
            organization,
            project: None,
            repository: REPOSITORY.to_owned(),
            wildcard: wildcard.to_string(),
            priority,
            publish: Publish::Runtime,
            allow_ifd: true,
            triggered_by,
            created_at: now,
        };
        let source = SourceInfo {
            path: packed.path.path.clone(),
            nar_hash: packed.path.nar_hash,
            rev: None,
            rev_count: None,
            last_modified: None,
        };
        // Until it has its row, so that nobody removes the file in between.
        let _turn = self.turn_at(&packed.path.nar_hash).await;
        let nar = uploads::store(self, &packed.verified, packed.nar, now).await?;
        let insert = async move |conn: &mut Conn| {
            if !organizations::keep(conn, organization).await? {
                return Err(EngineError::NotFound { what: "organization", name: organization.to_string() });
            }
            nar.claim(conn).await?;
            paths::insert_many(conn, organization, vec![packed.path], now).await?;
            let commit = commits::claim(conn, &commit).await?;
            evaluations::insert(conn, row, commit.id).await?;
            evaluations::set_source(conn, id, Epoch::NONE, &source, now).await?;
            Ok(())
        };
        self.storage().try_transaction(insert).await?;
        let added = Added {
            evaluation: id,
            organization,
            priority,
            status: EvaluationStatus::Queued,
            stage: Stage::Evaluate,
            job_epoch: Epoch::NONE,
            lease: None,
        };
        self.core().send(Event::EvaluationAdded(added)).await;
        Ok(id)
    }

    /// The newest direct builds of all organizations of a user, newest first, at most 20.
    pub async fn recent_direct_builds(&self, caller: &Caller) -> Result<Vec<Evaluation>, EngineError> {
        let Some(user) = caller.user().copied() else { return Ok(Vec::new()) };
        let caller = *caller;
        let list = async move |conn: &mut Conn| {
            let sees = |id: OrganizationId, role| {
                let access = OrganizationAccess { id, public: false, role: Some(role) };
                access.permissions(&caller).contains(OrgPermission::ViewOrg)
            };
            let roles = organizations::roles_of(conn, user.user).await?;
            let visible = roles.into_iter().filter(|(id, (_, _, role))| sees(*id, *role)).map(|(id, _)| id);
            evaluations::recent_direct(conn, &visible.collect::<Vec<_>>(), RECENT).await
        };
        Ok(self.storage().read(list).await?)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
