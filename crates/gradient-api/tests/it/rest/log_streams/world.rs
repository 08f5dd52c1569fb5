//! A server with an evaluation whose builds a worker has, which says what a test wants.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use gradient_api::ApiSettings;
use gradient_auth::WorkerToken;
use gradient_domain::{
    BuildId, BuiltInRole, CommitId, DerivationId, Epoch, EvaluationId, Job, JobKind, Moment, OrganizationId, Priority, Publish,
    RoleScope, WorkerId,
};
use gradient_engine::{Opened, WorkerSession};
use gradient_nix::{InputDerivationHash, NarHash};
use gradient_protocol::{Capabilities, Hello, PeerSelector, PeerToken, Report, ToServer, ToWorker, VERSIONS};
use gradient_storage::{
    Conn, Digest, Storage, StorageError, StorageSettings, attempts, builds,
    commits::{self, Commit},
    derivations::{self, NewDerivation},
    evaluations::{self, NewEvaluation, SourceInfo},
    organizations::{self, Organization, OrganizationChanges},
    roles, users,
    workers::{self, WorkerRegistration},
};
use tokio::sync::mpsc;

use super::{failure, text};
use crate::server::Server;

const EPOCH: Epoch = Epoch(1);

pub(super) struct World {
    pub(super) server: Server,
    organization: OrganizationId,
    pub(super) evaluation: EvaluationId,
    pub(super) builds: Vec<BuildId>,
    worker: tokio::sync::Mutex<WorkerSession>,
    /// How long each build's log is.
    sent: Mutex<Vec<u64>>,
    _outbox: mpsc::Receiver<ToWorker>,
}

impl World {
    /// The evaluation belongs to a public organization, and each build has a derivation of one of these names.
    pub(super) async fn start(database: &str, names: &[&str]) -> Self {
        let storage = Storage::connect(&database.parse().unwrap(), StorageSettings::default()).await.unwrap();
        let (worker, token) = (WorkerId::random(), WorkerToken::generate(&mut rand::rng()));
        let digest = Digest(*token.hash().as_bytes());
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let insert = async move |conn: &mut Conn| insert(conn, worker, digest, &names).await;
        let (organization, evaluation, builds) = storage.transaction(insert).await.unwrap();
        let review = Duration::from_millis(100);
        let server = Server::with_settings(database, ApiSettings { stream_review: review, ..ApiSettings::default() }).await;
        let hello = Hello {
            versions: VERSIONS,
            worker,
            program: "test".to_owned(),
            tokens: vec![PeerToken { peer: PeerSelector::Any, token: token.expose().to_owned() }],
            capabilities: Capabilities {
                kinds: vec![JobKind::Build],
                systems: vec!["x86_64-linux".to_owned()],
                features: vec![],
                build_slots: 8,
                cores: 1,
                memory_bytes: 1 << 30,
                separates_peers: false,
                nix_version: String::new(),
                signing_keys: vec![],
            },
            running: builds.iter().map(|build| (Job::Build(*build), EPOCH)).collect(),
            draining: false,
            process: None,
        };
        let Opened { session, outbox, .. } = server.engine.open_worker_session(hello).await.unwrap();
        let sent = Mutex::new(vec![0; builds.len()]);
        Self { server, organization, evaluation, builds, worker: tokio::sync::Mutex::new(session), sent, _outbox: outbox }
    }

    /// Makes a user a member.
    pub(super) async fn join(&self, username: &str) {
        let (organization, username) = (self.organization, username.to_owned());
        let join = async move |conn: &mut Conn| {
            let user = users::lookup_by_username(conn, &username).await?.unwrap().id;
            let role = roles::built_in(RoleScope::Organization, BuiltInRole::View);
            organizations::insert_member(conn, organization, user, role, Moment::now()).await
        };
        self.server.storage.transaction(join).await.unwrap();
    }

    /// From now on only members see the organization.
    pub(super) async fn close_to_the_public(&self) {
        let organization = self.organization;
        let changes = OrganizationChanges { public: Some(false), ..OrganizationChanges::default() };
        let close = async move |conn: &mut Conn| organizations::set(conn, organization, &changes).await;
        self.server.storage.write(close).await.unwrap();
    }

    pub(super) async fn log(&self, build: usize, text: &str) {
        self.log_bytes(build, text.as_bytes()).await;
    }

    pub(super) async fn log_bytes(&self, build: usize, bytes: &[u8]) {
        let offset = {
            let mut sent = self.sent.lock().unwrap();
            let offset = sent[build];
            sent[build] += bytes.len() as u64;
            offset
        };
        let log = ToServer::Log { job: Job::Build(self.builds[build]), epoch: EPOCH, offset, bytes: bytes.to_vec() };
        self.worker.lock().await.receive(log).await.unwrap();
    }

    /// Ends a build; the evaluation ends with the last.
    pub(super) async fn fail(&self, build: usize) {
        let log_bytes = self.sent.lock().unwrap()[build];
        let report = Report::Failed { failure: failure(), log_bytes };
        let number = build as u64 + 1;
        let report = ToServer::Report { number, job: Job::Build(self.builds[build]), epoch: EPOCH, report };
        self.worker.lock().await.receive(report).await.unwrap();
    }

    pub(super) async fn until(&self, holds: impl Fn() -> bool) {
        let wait = async {
            let mut pause = tokio::time::interval(Duration::from_millis(10));
            while !holds() {
                pause.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("this takes too long");
    }
}

/// A stream of JSON strings, one a line.
pub(super) struct Lines {
    response: reqwest::Response,
    begun: Vec<u8>,
}

impl Lines {
    pub(super) async fn open(world: &World, path: &str) -> Self {
        Self::open_as(world, path, None).await
    }

    pub(super) async fn open_as(world: &World, path: &str, token: Option<&str>) -> Self {
        let request = world.server.http.post(format!("{}/api/v1{path}", world.server.url));
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(
            (&response.headers()["content-type"], &response.headers()["x-accel-buffering"]),
            (&"application/x-ndjson".parse().unwrap(), &"no".parse().unwrap())
        );
        Self { response, begun: Vec::new() }
    }

    /// The next text, or `None` at the end.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.begun.drain(..=end).collect();
                return Some(text(std::str::from_utf8(&line).unwrap()));
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await.expect("nothing comes");
            let Some(chunk) = chunk.unwrap() else {
                assert_eq!(self.begun, b"", "the last line has an end too");
                return None;
            };
            self.begun.extend_from_slice(&chunk);
        }
    }

    pub(super) async fn rest(mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }
}

async fn insert(
    conn: &mut Conn,
    worker: WorkerId,
    token_hash: Digest,
    names: &[String],
) -> Result<(OrganizationId, EvaluationId, Vec<BuildId>), StorageError> {
    let (organization, now) = (OrganizationId::new(), Moment::now());
    let acme = Organization {
        id: organization,
        name: "acme".parse().unwrap(),
        display_name: "Acme".parse().unwrap(),
        description: String::new(),
        public: true,
        share: 100,
        ssh_public: String::new(),
        ssh_private_sealed: Vec::new(),
        created_by: None,
        created_at: now,
        deleted_at: None,
    };
    organizations::insert(conn, &acme).await?;
    let registration = WorkerRegistration {
        organization,
        worker,
        display_name: "build-01".parse().unwrap(),
        token_hash,
        enable_fetch: true,
        enable_eval: true,
        enable_build: true,
        registered_at: now,
        created_by: None,
    };
    workers::insert(conn, &registration).await?;
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
        project: None,
        repository: commit.repository.clone(),
        wildcard: "packages.*.#".to_owned(),
        priority: Priority::default(),
        publish: Publish::Runtime,
        allow_ifd: false,
        triggered_by: None,
        created_at: now,
    };
    let evaluation = new.id;
    evaluations::insert(conn, new, commit.id).await?;
    let path = format!("{:032}-source", 0).parse().unwrap();
    let source = SourceInfo { path, nar_hash: NarHash([4; 32]), rev: None, rev_count: None, last_modified: None };
    assert!(evaluations::set_source(conn, evaluation, Epoch::NONE, &source, now).await?);
    let mut ids = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let derivation = derivation(organization, number, name, now);
        let id = BuildId::new();
        let derivation_id = derivation.id;
        derivations::insert_many(conn, vec![derivation]).await?;
        let new = builds::NewBuild {
            id,
            organization,
            derivation: derivation_id,
            generation: 1,
            beginning: builds::Beginning::Queued,
            queued_at: now,
        };
        builds::insert_many(conn, vec![new]).await?;
        builds::link(conn, evaluation, &[id], now).await?;
        attempts::assign(conn, id, EPOCH, worker, now).await?;
        ids.push(id);
    }
    evaluations::set_sealed(conn, evaluation, Epoch::NONE, now).await?;
    Ok((organization, evaluation, ids))
}

fn derivation(organization: OrganizationId, number: usize, name: &str, now: Moment) -> NewDerivation {
    let path = |number: usize, name: &str| format!("{number:032}-{name}").parse().unwrap();
    let output: gradient_nix::StorePath = path(2 * number + 1, name);
    NewDerivation {
        id: DerivationId::new(),
        organization,
        drv_path: path(2 * number + 2, &format!("{name}.drv")),
        name: name.to_owned(),
        system: "x86_64-linux".to_owned(),
        features: vec![],
        aterm: format!(
            r#"Derive([("out","/nix/store/{output}","","")],[],[],"x86_64-linux","/bin/sh",[],[("out","/nix/store/{output}")])"#
        )
        .into_bytes(),
        input_hash: InputDerivationHash::Regular([u8::try_from(number).unwrap(); 32]),
        outputs: BTreeMap::from([("out".to_owned(), Some(output))]),
        inputs: vec![],
        created_at: now,
    }
}
