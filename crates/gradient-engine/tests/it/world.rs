//! An engine with records that were there before it started, and workers that say what a test wants.

use std::{collections::BTreeMap, future::Future, num::NonZeroUsize, time::Duration};

use gradient_auth::{JwtKeys, PasswordHasher, Sealer, SecretKeys, WorkerToken};
use gradient_blobs::{BlobKey, Blobs};
use gradient_domain::{
    BuildId, BuildStatus, BuildTimes, CommitId, DerivationId, EntryPointId, Epoch, EvaluationId, Job, JobKind, Moment,
    OrganizationId, Priority, ProjectId, Publish, WorkerId,
};
use gradient_engine::{Engine, EngineSettings, Opened, Parts, Refused};
use gradient_forge::{Forge, ForgeSettings};
use gradient_nix::{InputDerivationHash, NarHash, StorePath};
use gradient_protocol::{Capabilities, Hello, PeerSelector, PeerToken, VERSIONS};
use gradient_storage::{
    Conn, Digest, Storage, StorageSettings, attempts, builds,
    commits::{self, Commit},
    derivations::{self, NewDerivation},
    evaluations::{self, NewEntryPoint, NewEvaluation, SourceInfo},
    nars::{self, NewNar},
    organizations::{self, Organization},
    paths::{self, NewOrganizationPath},
    workers::{self, WorkerRegistration},
};
use tempfile::TempDir;

/// A database and a store, before the engine starts.
pub(crate) struct World {
    pub(crate) storage: Storage,
    pub(crate) blobs: Blobs,
    _directory: TempDir,
}

/// An organization with a build that a worker of its own has, and a path in its scope.
pub(crate) struct Tenant {
    pub(crate) organization: OrganizationId,
    pub(crate) worker: WorkerId,
    pub(crate) token: String,
    pub(crate) evaluation: EvaluationId,
    pub(crate) build: BuildId,
    pub(crate) path: StorePath,
}

impl Tenant {
    pub(crate) const EPOCH: Epoch = Epoch(1);

    pub(crate) fn job(&self) -> Job {
        Job::Build(self.build)
    }
}

impl World {
    pub(crate) async fn new(url: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let storage = Storage::connect(&url.parse().unwrap(), StorageSettings::default()).await.unwrap();
        Self { storage, blobs: Blobs::open_directory(directory.path()).unwrap(), _directory: directory }
    }

    /// An organization that has registered a worker; its token.
    pub(crate) async fn register(&self, name: &str, worker: WorkerId, at: Moment) -> (OrganizationId, String) {
        let (id, token) = (OrganizationId::new(), WorkerToken::generate(&mut rand::rng()));
        let organization = Organization {
            id,
            name: name.parse().unwrap(),
            display_name: name.parse().unwrap(),
            description: String::new(),
            public: false,
            share: 100,
            ssh_public: String::new(),
            ssh_private_sealed: Vec::new(),
            created_by: None,
            created_at: at,
            deleted_at: None,
        };
        let registration = registration(id, worker, &token, at);
        let insert = async move |conn: &mut Conn| {
            organizations::insert(conn, &organization).await?;
            workers::insert(conn, &registration).await
        };
        self.storage.transaction(insert).await.unwrap();
        (id, token.expose().to_owned())
    }

    /// Another worker of the organization, which is at one more evaluation; it and its token.
    pub(crate) async fn evaluating(&self, organization: OrganizationId) -> (EvaluationId, WorkerId, String) {
        let (worker, token, now) = (WorkerId::random(), WorkerToken::generate(&mut rand::rng()), Moment::now());
        let registration = registration(organization, worker, &token, now);
        let source = SourceInfo {
            path: store_path(4, "source"),
            nar_hash: NarHash([4; 32]),
            rev: None,
            rev_count: None,
            last_modified: None,
        };
        let insert = async move |conn: &mut Conn| {
            workers::insert(conn, &registration).await?;
            let id = evaluation(conn, organization, None, now).await?;
            assert!(evaluations::set_source(conn, id, Epoch::NONE, &source, now).await?);
            evaluations::assign(conn, id, Tenant::EPOCH, worker, now).await?;
            Ok(id)
        };
        (self.storage.transaction(insert).await.unwrap(), worker, token.expose().to_owned())
    }

    pub(crate) async fn tenant(&self, name: &str) -> Tenant {
        let worker = WorkerId::random();
        let (organization, token) = self.register(name, worker, Moment::now()).await;
        self.tenant_of(organization, worker, token, None).await
    }

    /// An organization becomes a tenant, whose evaluation is one of this project.
    pub(crate) async fn tenant_of(
        &self,
        organization: OrganizationId,
        worker: WorkerId,
        token: String,
        project: Option<ProjectId>,
    ) -> Tenant {
        let now = Moment::now();
        let path = store_path(1, "secret");
        let nar_hash = NarHash([1; 32]);
        self.blobs.put(&BlobKey::nar(&nar_hash), "secret".into()).await.unwrap();
        let insert = {
            let path = path.clone();
            async move |conn: &mut Conn| {
                nars::claim(conn, NewNar { nar_hash, nar_size: 6, file_hash: nar_hash, file_size: 6, created_at: now }).await?;
                let row = NewOrganizationPath { path, nar_hash, references: vec![], deriver: None, content_address: None };
                paths::insert_many(conn, organization, vec![row], now).await?;
                let evaluation = evaluation(conn, organization, project, now).await?;
                let build = build(conn, organization, evaluation, 2, 0, now).await?;
                attempts::assign(conn, build, Tenant::EPOCH, worker, now).await?;
                Ok((evaluation, build))
            }
        };
        let (evaluation, build) = self.storage.transaction(insert).await.unwrap();
        Tenant { organization, worker, token, evaluation, build, path }
    }

    /// One more evaluation of the tenant, which has found all there is: a build that is queued.
    pub(crate) async fn queued(&self, tenant: &Tenant) -> BuildId {
        self.queued_with(tenant, 0).await
    }

    /// The same, with so many bytes of environment in its derivation.
    pub(crate) async fn queued_with(&self, tenant: &Tenant, bytes: usize) -> BuildId {
        let (organization, now) = (tenant.organization, Moment::now());
        let insert = async move |conn: &mut Conn| {
            let evaluation = evaluation(conn, organization, None, now).await?;
            let build = build(conn, organization, evaluation, 5, bytes, now).await?;
            evaluations::set_sealed(conn, evaluation, Epoch::NONE, now).await?;
            Ok(build)
        };
        self.storage.transaction(insert).await.unwrap()
    }

    /// A build of the tenant's evaluation that needs the one that its worker has.
    pub(crate) async fn dependent(&self, tenant: &Tenant) -> BuildId {
        let (organization, evaluation, input, now) = (tenant.organization, tenant.evaluation, tenant.build, Moment::now());
        let insert = async move |conn: &mut Conn| {
            let needed = builds::find(conn, input).await?.derivation;
            let mut derivation = derivation(organization, 7, 0, now);
            let build = first_build(&derivation, now);
            let needs = format!(r#"[("/nix/store/{}",["out"])]"#, store_path(3, "package.drv"));
            let aterm = String::from_utf8(derivation.aterm).unwrap();
            derivation.aterm = aterm.replacen("[],[]", &format!("{needs},[]"), 1).into_bytes();
            derivation.inputs = vec![needed];
            insert_build(conn, evaluation, derivation, build, now).await
        };
        self.storage.transaction(insert).await.unwrap()
    }

    /// One more evaluation of the tenant, with so many builds that are queued; the last one is its entry point.
    pub(crate) async fn crowded(&self, tenant: &Tenant, count: u16) -> EvaluationId {
        let (organization, now) = (tenant.organization, Moment::now());
        let insert = async move |conn: &mut Conn| {
            let evaluation = evaluation(conn, organization, None, now).await?;
            let numbers = (0..usize::from(count)).map(|number| 1000 + 2 * number);
            let rows: Vec<NewDerivation> = numbers.map(|number| derivation(organization, number, 0, now)).collect();
            let new: Vec<builds::NewBuild> = rows.iter().map(|row| first_build(row, now)).collect();
            let ids: Vec<BuildId> = new.iter().map(|build| build.id).collect();
            derivations::insert_many(conn, rows).await?;
            builds::insert_many(conn, new).await?;
            builds::link(conn, evaluation, &ids, now).await?;
            let (id, attribute) = (EntryPointId::new(), "packages.last".to_owned());
            let root = NewEntryPoint { id, attribute, build: ids.last().copied(), error: None, times: BuildTimes::default() };
            evaluations::insert_entry_points(conn, evaluation, vec![root], now).await?;
            evaluations::set_sealed(conn, evaluation, Epoch::NONE, now).await?;
            Ok(evaluation)
        };
        self.storage.transaction(insert).await.unwrap()
    }

    pub(crate) async fn build_status(&self, build: BuildId) -> BuildStatus {
        self.storage.read(async move |conn: &mut Conn| builds::find(conn, build).await).await.unwrap().status
    }

    /// One more evaluation that needs the tenant's build.
    pub(crate) async fn sharing(&self, tenant: &Tenant) -> EvaluationId {
        let (organization, build, now) = (tenant.organization, tenant.build, Moment::now());
        let insert = async move |conn: &mut Conn| {
            let id = evaluation(conn, organization, None, now).await?;
            builds::link(conn, id, &[build], now).await?;
            Ok(id)
        };
        self.storage.transaction(insert).await.unwrap()
    }

    /// One more evaluation of a project, which needs these builds.
    pub(crate) async fn evaluation_of(&self, project: &gradient_engine::Project, needed: &[BuildId]) -> EvaluationId {
        let (organization, project, needed, now) = (project.organization, project.id, needed.to_vec(), Moment::now());
        let insert = async move |conn: &mut Conn| {
            let id = evaluation(conn, organization, Some(project), now).await?;
            builds::link(conn, id, &needed, now).await?;
            Ok(id)
        };
        self.storage.transaction(insert).await.unwrap()
    }

    /// An evaluation that the engine has not heard of yet.
    pub(crate) async fn unannounced(&self, organization: OrganizationId) -> EvaluationId {
        let now = Moment::now();
        self.storage.transaction(async move |conn: &mut Conn| evaluation(conn, organization, None, now).await).await.unwrap()
    }

    pub(crate) async fn start(&self, settings: EngineSettings) -> Engine {
        let keys = || SecretKeys::parse("0123456789abcdef0123456789abcdef").unwrap();
        let parts = Parts {
            storage: self.storage.clone(),
            blobs: self.blobs.clone(),
            forge: Forge::new(ForgeSettings { allow_local: settings.allow_local_repositories, ..ForgeSettings::default() }),
            jwt: JwtKeys::new(&keys()),
            sealer: Sealer::new(&keys()),
            passwords: PasswordHasher::new(NonZeroUsize::MIN, &mut rand::rng()).unwrap(),
            settings,
        };
        Engine::start(parts).await.unwrap()
    }
}

fn registration(organization: OrganizationId, worker: WorkerId, token: &WorkerToken, at: Moment) -> WorkerRegistration {
    WorkerRegistration {
        organization,
        worker,
        display_name: "build-01".parse().unwrap(),
        token_hash: Digest(*token.hash().as_bytes()),
        enable_fetch: true,
        enable_eval: true,
        enable_build: true,
        registered_at: at,
        created_by: None,
    }
}

async fn evaluation(
    conn: &mut Conn,
    organization: OrganizationId,
    project: Option<ProjectId>,
    now: Moment,
) -> Result<EvaluationId, gradient_storage::StorageError> {
    let commit = Commit {
        id: CommitId::new(),
        organization,
        repository: "https://example.com/repository.git".to_owned(),
        hash: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        message: String::new(),
        author_name: None,
        created_at: now,
    };
    let commit = commits::claim(conn, &commit).await?;
    let new = NewEvaluation {
        id: EvaluationId::new(),
        organization,
        project,
        repository: commit.repository.clone(),
        wildcard: "packages.*.#".to_owned(),
        priority: Priority::default(),
        publish: Publish::Runtime,
        allow_ifd: true,
        triggered_by: None,
        created_at: now,
    };
    let id = new.id;
    evaluations::insert(conn, new, commit.id).await?;
    Ok(id)
}

/// A package with this number, and so many bytes of environment.
fn derivation(organization: OrganizationId, number: usize, bytes: usize, now: Moment) -> NewDerivation {
    let output = store_path(number, "package");
    NewDerivation {
        id: DerivationId::new(),
        organization,
        drv_path: store_path(number + 1, "package.drv"),
        name: "package".to_owned(),
        system: "x86_64-linux".to_owned(),
        features: vec![],
        aterm: format!(
            r#"Derive([("out","/nix/store/{output}","","")],[],[],"x86_64-linux","/bin/sh",[],[("more","{}"),("out","/nix/store/{output}")])"#,
            "m".repeat(bytes)
        )
        .into_bytes(),
        input_hash: InputDerivationHash::Regular([number.to_le_bytes()[0]; 32]),
        outputs: BTreeMap::from([("out".to_owned(), Some(output))]),
        inputs: vec![],
        created_at: now,
    }
}

/// A queued build of a package with this number, and so many bytes of environment.
async fn build(
    conn: &mut Conn,
    organization: OrganizationId,
    evaluation: EvaluationId,
    number: u8,
    bytes: usize,
    now: Moment,
) -> Result<BuildId, gradient_storage::StorageError> {
    let derivation = derivation(organization, number.into(), bytes, now);
    let build = first_build(&derivation, now);
    insert_build(conn, evaluation, derivation, build, now).await
}

fn first_build(of: &NewDerivation, now: Moment) -> builds::NewBuild {
    let (id, organization, derivation) = (BuildId::new(), of.organization, of.id);
    builds::NewBuild { id, organization, derivation, generation: 1, beginning: builds::Beginning::Queued, queued_at: now }
}

async fn insert_build(
    conn: &mut Conn,
    evaluation: EvaluationId,
    derivation: NewDerivation,
    build: builds::NewBuild,
    now: Moment,
) -> Result<BuildId, gradient_storage::StorageError> {
    let id = build.id;
    derivations::insert_many(conn, vec![derivation]).await?;
    builds::insert_many(conn, vec![build]).await?;
    builds::link(conn, evaluation, &[id], now).await?;
    Ok(id)
}

/// A store path whose hash is this number.
pub(crate) fn store_path(number: usize, name: &str) -> StorePath {
    format!("{number:032}-{name}").parse().unwrap()
}

/// A worker with one build slot introduces itself.
pub(crate) async fn connect(
    engine: &Engine,
    worker: WorkerId,
    token: &str,
    running: Vec<(Job, Epoch)>,
) -> Result<Opened, Refused> {
    soon(engine.open_worker_session(hello(worker, token, running))).await
}

/// The tenant's worker introduces itself, and says which of its processes it is.
pub(crate) async fn connect_process(
    engine: &Engine,
    tenant: &Tenant,
    running: Vec<(Job, Epoch)>,
    process: u64,
) -> Result<Opened, Refused> {
    let hello = Hello { process: Some(process), ..hello(tenant.worker, &tenant.token, running) };
    soon(engine.open_worker_session(hello)).await
}

fn hello(worker: WorkerId, token: &str, running: Vec<(Job, Epoch)>) -> Hello {
    Hello {
        versions: VERSIONS,
        worker,
        program: "test".to_owned(),
        tokens: vec![PeerToken { peer: PeerSelector::Any, token: token.to_owned() }],
        capabilities: capabilities(1),
        running,
        draining: false,
        process: None,
    }
}

pub(crate) fn capabilities(build_slots: u32) -> Capabilities {
    Capabilities {
        kinds: vec![JobKind::Build],
        systems: vec!["x86_64-linux".to_owned()],
        features: vec![],
        build_slots,
        cores: 1,
        memory_bytes: 1 << 30,
        separates_peers: false,
        nix_version: String::new(),
        signing_keys: vec![],
    }
}

/// Fails the test rather than let it wait for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("this takes too long")
}
