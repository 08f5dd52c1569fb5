//! Records with nothing special about them.

use std::{collections::BTreeMap, future::Future};

use gradient_domain::{
    BuildId, CacheId, CommitId, Concurrency, DerivationId, EvaluationId, Moment, OrganizationId, Priority, ProjectId, Publish,
    UserId, WorkerId,
};
use gradient_nix::{InputDerivationHash, NarHash, StorePath};
use gradient_storage::{
    AsyncTask, Conn, Storage, StorageError, StorageSettings,
    builds::{self, Beginning, NewBuild},
    caches::{self, Cache},
    commits::{self, Commit},
    derivations::{self, NewDerivation},
    evaluations::{self, NewEvaluation},
    nars::{self, NewNar},
    organizations::{self, Organization},
    projects::{self, Project},
    users::{self, User},
};

pub(crate) const NOW: Moment = Moment::from_micros(1_790_000_000_123_456);

pub(crate) fn later(seconds: u64) -> Moment {
    NOW.plus(std::time::Duration::from_secs(seconds))
}

pub(crate) async fn open(url: &str) -> Storage {
    Storage::connect(&url.parse().unwrap(), StorageSettings::default()).await.unwrap()
}

/// Runs `body` in one transaction on a new database.
pub(crate) async fn with<R, F>(url: &str, body: F) -> R
where
    for<'r> F: AsyncFnOnce(&'r mut Conn) -> Result<R, StorageError>
        + AsyncTask<&'r mut Conn, Result<R, StorageError>, Running: Send>
        + Send
        + 'static,
    R: Send + 'static,
{
    open(url).await.transaction(body).await.unwrap()
}

/// Expects `AlreadyExists` of this kind of thing, without ending the transaction around it.
pub(crate) async fn exists<F>(conn: &mut Conn, what: &str, attempt: F)
where
    for<'r> F: AsyncFnOnce(&'r mut Conn) -> Result<(), StorageError>
        + AsyncTask<&'r mut Conn, Result<(), StorageError>, Running: Send>
        + Send,
{
    let outcome: Result<(), StorageError> = conn.transaction(attempt).await;
    match outcome {
        Err(StorageError::AlreadyExists { what: found }) => assert_eq!(found, what),
        other => panic!("expected that there is such a {what} already, got {other:?}"),
    }
}

pub(crate) fn assert_missing<T: std::fmt::Debug>(outcome: Result<T, StorageError>, expected: &str) {
    match outcome {
        Err(StorageError::NotFound { what, .. }) => assert_eq!(what, expected),
        other => panic!("expected that there is no {expected}, got {other:?}"),
    }
}

pub(crate) fn user(username: &str) -> User {
    User {
        id: UserId::new(),
        username: username.parse().unwrap(),
        name: "Somebody".parse().unwrap(),
        email: format!("{username}@example.com").parse().unwrap(),
        password_hash: None,
        superuser: false,
        created_at: NOW,
        email_verified: true,
    }
}

pub(crate) async fn insert_user(conn: &mut Conn, username: &str) -> Result<UserId, StorageError> {
    let user = user(username);
    users::insert(conn, &user).await?;
    Ok(user.id)
}

pub(crate) fn organization(name: &str) -> Organization {
    Organization {
        id: OrganizationId::new(),
        name: name.parse().unwrap(),
        display_name: "An organization".parse().unwrap(),
        description: "It is about \"tests\".".to_owned(),
        public: false,
        share: 100,
        ssh_public: "ssh-ed25519 AAAA".to_owned(),
        ssh_private_sealed: vec![0, 1, 255],
        created_by: None,
        created_at: NOW,
        deleted_at: None,
    }
}

pub(crate) async fn insert_organization(conn: &mut Conn, name: &str) -> Result<OrganizationId, StorageError> {
    let organization = organization(name);
    organizations::insert(conn, &organization).await?;
    Ok(organization.id)
}

pub(crate) fn cache(name: &str) -> Cache {
    Cache {
        id: CacheId::new(),
        name: name.parse().unwrap(),
        display_name: "A cache".parse().unwrap(),
        description: String::new(),
        priority: 40,
        active: true,
        public: false,
        created_by: None,
        created_at: NOW,
        deleted_at: None,
        retention_days: None,
        max_bytes: None,
        pull_through: false,
    }
}

pub(crate) async fn insert_cache(conn: &mut Conn, name: &str) -> Result<CacheId, StorageError> {
    let cache = cache(name);
    caches::insert(conn, &cache).await?;
    Ok(cache.id)
}

pub(crate) fn project(organization: OrganizationId, name: &str) -> Project {
    Project {
        id: ProjectId::new(),
        organization,
        name: name.parse().unwrap(),
        display_name: "A project".parse().unwrap(),
        description: String::new(),
        repository: "https://example.com/repository.git".parse().unwrap(),
        branch: None,
        wildcard: "packages.x86_64-linux.#".parse().unwrap(),
        active: true,
        keep_evaluations: 30,
        concurrency: Concurrency::SoftAbort,
        poll_interval_secs: 0,
        publish: Publish::Runtime,
        allow_ifd: true,
        priority: Priority::default(),
        last_check_at: None,
        created_by: None,
        created_at: NOW,
        deleted_at: None,
    }
}

pub(crate) fn commit(organization: OrganizationId) -> Commit {
    Commit {
        id: CommitId::new(),
        organization,
        repository: "https://example.com/repository.git".to_owned(),
        hash: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        message: "Begin\n\nAll beginnings are hard.".to_owned(),
        author_name: Some("Ada".to_owned()),
        created_at: NOW,
    }
}

/// An organization with a project.
pub(crate) async fn insert_project(conn: &mut Conn) -> Result<(OrganizationId, ProjectId), StorageError> {
    let organization = insert_organization(conn, "acme").await?;
    let project = project(organization, "main");
    projects::insert(conn, &project).await?;
    Ok((organization, project.id))
}

pub(crate) async fn insert_evaluation(
    conn: &mut Conn,
    organization: OrganizationId,
    project: Option<ProjectId>,
    publish: Publish,
) -> Result<EvaluationId, StorageError> {
    let commit = commits::claim(conn, &commit(organization)).await?;
    let new = NewEvaluation {
        id: EvaluationId::new(),
        organization,
        project,
        repository: commit.repository.clone(),
        wildcard: "packages.*.#".to_owned(),
        priority: Priority::default(),
        publish,
        allow_ifd: true,
        triggered_by: None,
        created_at: NOW,
    };
    let id = new.id;
    evaluations::insert(conn, new, commit.id).await?;
    Ok(id)
}

/// A store path whose hash is this number.
pub(crate) fn path(number: usize, name: &str) -> StorePath {
    let digits = format!("{number:032}");
    format!("{digits}-{name}").parse().unwrap()
}

pub(crate) fn derivation(organization: OrganizationId, number: usize, inputs: &[DerivationId]) -> NewDerivation {
    NewDerivation {
        id: DerivationId::new(),
        organization,
        drv_path: path(number, &format!("package-{number}.drv")),
        name: format!("package-{number}"),
        system: "x86_64-linux".to_owned(),
        features: vec!["big-parallel".to_owned(), "kvm".to_owned()],
        aterm: b"Derive(\0\xff".to_vec(),
        input_hash: InputDerivationHash::Regular([3; 32]),
        outputs: BTreeMap::from([("out".to_owned(), Some(path(number + 1_000_000, "package"))), ("dev".to_owned(), None)]),
        inputs: inputs.to_vec(),
        created_at: NOW,
    }
}

/// A queued build of a derivation of its own.
pub(crate) async fn insert_build(
    conn: &mut Conn,
    organization: OrganizationId,
    number: usize,
    inputs: &[DerivationId],
) -> Result<(DerivationId, BuildId), StorageError> {
    let derivation = derivation(organization, number, inputs);
    let id = derivation.id;
    derivations::insert_many(conn, vec![derivation]).await?;
    let build = new_build(organization, id, 1);
    let build_id = build.id;
    builds::insert_many(conn, vec![build]).await?;
    Ok((id, build_id))
}

pub(crate) fn new_build(organization: OrganizationId, derivation: DerivationId, generation: i32) -> NewBuild {
    NewBuild { id: BuildId::new(), organization, derivation, generation, beginning: Beginning::Queued, queued_at: NOW }
}

pub(crate) async fn insert_nar(conn: &mut Conn, byte: u8) -> Result<NarHash, StorageError> {
    let nar_hash = NarHash([byte; 32]);
    let file_hash = NarHash([byte.wrapping_add(100); 32]);
    nars::claim(conn, NewNar { nar_hash, nar_size: 1000, file_hash, file_size: 300, created_at: NOW }).await?;
    Ok(nar_hash)
}

pub(crate) fn worker() -> WorkerId {
    WorkerId::random()
}

/// Fails the test rather than let it wait for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_mins(1), what).await.expect("this takes too long")
}
