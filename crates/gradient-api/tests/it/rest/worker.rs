//! A worker that does what a test wants, and a server with a project for it.

use std::{collections::BTreeSet, time::Duration};

use gradient_cache_protocol::content_address;
use gradient_domain::{BuildId, BuildTimes, Epoch, Failure, FailureKind, Job, JobKind, WorkerId};
use gradient_engine::WorkerSession;
use gradient_nix::{CAHash, HashAlgorithm, NarHash, NixHasher, SigningKey, StorePath, nar::Encoder};
use gradient_protocol::{
    BuiltOutput, Capabilities, DerivationFile, EntryPoint, Hello, PeerSelector, PeerToken, Report, Source, Task, ToServer,
    ToWorker, VERSIONS, transfer,
};
use reqwest::StatusCode;
use serde_json::json;
use tokio::sync::mpsc;

use super::{Client, repository::Repository};
use crate::server::Server;

/// A derivation without inputs, as Nix wrote it.
pub(super) const BASE: Derivation = Derivation {
    path: "j3m6sbf8qaqiy1648nxfixmc875kqhhz-base.drv",
    aterm: include_bytes!("../../../../gradient-nix/tests/vectors/drv/j3m6sbf8qaqiy1648nxfixmc875kqhhz-base.drv"),
    output: "nvwa44pgdakc6hh2wq9mfyj4124gr5g6-base",
};

/// One that needs [`BASE`].
pub(super) const TREE: Derivation = Derivation {
    path: "j0aw2ghr4960j7nfmxajrn3i23aq29nq-tree.drv",
    aterm: include_bytes!("../../../../gradient-nix/tests/vectors/drv/j0aw2ghr4960j7nfmxajrn3i23aq29nq-tree.drv"),
    output: "2vmnnlg2n5iiwmvhg8957fprn2bw0159-tree",
};

/// A derivation with one output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Derivation {
    pub(super) path: &'static str,
    pub(super) aterm: &'static [u8],
    pub(super) output: &'static str,
}

impl Derivation {
    /// As a worker sends it.
    pub(super) fn file(&self) -> DerivationFile {
        DerivationFile { path: self.path.parse().unwrap(), aterm: self.aterm.to_vec() }
    }
}

/// A job that the worker has.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    pub(super) job: Job,
    pub(super) epoch: Epoch,
    pub(super) task: Task,
}

impl Assignment {
    pub(super) fn build(&self) -> BuildId {
        let Job::Build(build) = self.job else { panic!("{:?} is no build", self.job) };
        build
    }
}

/// A worker with one slot. It is connected until it is dropped.
pub(super) struct Worker {
    http: reqwest::Client,
    url: String,
    pub(super) id: WorkerId,
    session: WorkerSession,
    outbox: mpsc::Receiver<ToWorker>,
    token: String,
    reports: u64,
}

impl Worker {
    /// Registers a worker in the organization, and connects it.
    pub(super) async fn connect(client: Client<'_>, organization: &str) -> Self {
        Self::connect_with_keys(client, organization, vec![]).await
    }

    /// The same with one that says that it has the secret keys of these public keys.
    pub(super) async fn connect_with_keys(client: Client<'_>, organization: &str, signing_keys: Vec<String>) -> Self {
        let id = WorkerId::random();
        let hello = Self::hello(client, organization, id, signing_keys).await;
        let opened = client.server.engine.open_worker_session(hello).await.unwrap();
        let (http, url) = (client.server.http.clone(), client.server.url.clone());
        let token = opened.welcome.session_token;
        Self { http, url, id, session: opened.session, outbox: opened.outbox, token, reports: 0 }
    }

    /// What a worker with this id says first, which it is registered for.
    pub(super) async fn hello(client: Client<'_>, organization: &str, id: WorkerId, signing_keys: Vec<String>) -> Hello {
        let registration = client.post(&format!("/orgs/{organization}/workers"), json!({"worker_id": id})).await.message();
        let token = registration["token"].as_str().unwrap().to_owned();
        Hello {
            versions: VERSIONS,
            worker: id,
            program: "test".to_owned(),
            tokens: vec![PeerToken { peer: PeerSelector::Any, token }],
            capabilities: Capabilities {
                kinds: JobKind::ALL.to_vec(),
                systems: vec!["x86_64-linux".to_owned()],
                features: vec![],
                build_slots: 1,
                cores: 1,
                memory_bytes: 1 << 30,
                separates_peers: false,
                nix_version: String::new(),
                signing_keys,
            },
            running: vec![],
            draining: false,
            process: None,
        }
    }

    /// The next job it is given.
    pub(super) async fn next(&mut self) -> Assignment {
        soon(async {
            loop {
                if let ToWorker::Assign { job, epoch, task, .. } = self.outbox.recv().await.expect("the session has ended") {
                    return Assignment { job, epoch, task: *task };
                }
            }
        })
        .await
    }

    /// What it is asked to sign next: the number of the request, the public key, and the texts.
    pub(super) async fn next_to_sign(&mut self) -> (u64, String, Vec<String>) {
        soon(async {
            loop {
                if let ToWorker::Sign { number, key, fingerprints } = self.outbox.recv().await.expect("the session has ended") {
                    return (number, key, fingerprints);
                }
            }
        })
        .await
    }

    /// Answers what it was asked to sign.
    pub(super) async fn answer_with_signatures(&mut self, number: u64, signatures: Result<Vec<String>, String>) {
        self.session.receive(ToServer::Signed { number, signatures }).await.unwrap();
    }

    /// Signs what it is asked to sign next; which texts.
    pub(super) async fn sign(&mut self, key: &SigningKey) -> Vec<String> {
        let (number, public, fingerprints) = self.next_to_sign().await;
        assert_eq!(public, key.public().to_string());
        let signatures = fingerprints.iter().map(|text| key.sign(text)).collect();
        self.answer_with_signatures(number, Ok(signatures)).await;
        fingerprints
    }

    /// Whether it was not asked to sign anything.
    pub(super) fn was_asked_nothing(mut self) -> bool {
        std::iter::from_fn(|| self.outbox.try_recv().ok()).all(|message| !matches!(message, ToWorker::Sign { .. }))
    }

    /// Ends the connection.
    pub(super) async fn leave(self) {
        self.session.close().await;
    }

    /// Fetches, when that is wanted, and evaluates: these derivations, the last of which is the entry point `packages.<n>`.
    pub(super) async fn evaluate(&mut self, derivations: &[Derivation]) {
        let assignment = self.fetch().await;
        self.evaluate_assigned(&assignment, derivations).await;
    }

    /// The same with derivations that are all entry points.
    pub(super) async fn evaluate_each(&mut self, derivations: &[Derivation]) {
        let assignment = self.fetch().await;
        let entry_point = |derivation: &Derivation| EntryPoint {
            attribute: format!("packages.\"{}\"", derivation.path),
            outcome: Ok(derivation.path.parse().unwrap()),
            times: BuildTimes::default(),
        };
        let report = Report::Derivations {
            derivations: derivations.iter().map(Derivation::file).collect(),
            entry_points: derivations.iter().map(entry_point).collect(),
            messages: vec![],
        };
        self.report(&assignment, report).await;
        self.report(&assignment, Report::Evaluated {}).await;
    }

    /// Fetches, when that is wanted; the next job, which is to evaluate.
    pub(super) async fn fetch(&mut self) -> Assignment {
        let assignment = self.next().await;
        let Job::Fetch(_) = assignment.job else { return assignment };
        let nar = tree(&[("flake.nix", b"{ }")]);
        let path = self.upload_source(&assignment, &nar).await;
        let nar_hash = sha256(&nar);
        let source = Source { path, nar_hash, rev: None, rev_count: None, last_modified: None };
        self.report(&assignment, Report::Fetched { source }).await;
        self.next().await
    }

    /// Evaluates what it was given.
    pub(super) async fn evaluate_assigned(&mut self, assignment: &Assignment, derivations: &[Derivation]) {
        assert_eq!(assignment.job.kind(), JobKind::Evaluate);
        let entry_point = |derivation: &Derivation| EntryPoint {
            attribute: format!("packages.{}", derivation.path.split('-').next_back().unwrap().trim_end_matches(".drv")),
            outcome: Ok(derivation.path.parse().unwrap()),
            times: BuildTimes::default(),
        };
        let report = Report::Derivations {
            derivations: derivations.iter().map(Derivation::file).collect(),
            entry_points: derivations.last().map(entry_point).into_iter().collect(),
            messages: vec![],
        };
        self.report(assignment, report).await;
        self.report(assignment, Report::Evaluated {}).await;
    }

    /// Builds the next job, which has to be of this derivation; its output is this NAR.
    pub(super) async fn build(&mut self, derivation: Derivation, nar: &[u8], references: &[&str]) -> BuildId {
        let assignment = self.next_build(derivation).await;
        self.finish(&assignment, derivation, nar, references, 5).await;
        assignment.build()
    }

    /// Builds what it was given, which takes so long.
    pub(super) async fn finish(
        &mut self,
        assignment: &Assignment,
        derivation: Derivation,
        nar: &[u8],
        references: &[&str],
        build_ms: u64,
    ) {
        let path: StorePath = derivation.output.parse().unwrap();
        assert_eq!(self.upload(assignment, &path, nar, None).await, StatusCode::NO_CONTENT);
        let output = BuiltOutput {
            name: "out".to_owned(),
            path,
            nar_hash: sha256(nar),
            nar_size: nar.len() as u64,
            references: references.iter().map(|path| path.parse().unwrap()).collect(),
        };
        self.report(assignment, Report::Built { outputs: vec![output], build_ms, log_bytes: 0 }).await;
    }

    /// Fails at the next job, which has to be of this derivation.
    pub(super) async fn fail(&mut self, derivation: Derivation, kind: FailureKind) -> BuildId {
        let assignment = self.next_build(derivation).await;
        self.fail_assigned(&assignment, kind).await;
        assignment.build()
    }

    /// Fails at what it was given.
    pub(super) async fn fail_assigned(&mut self, assignment: &Assignment, kind: FailureKind) {
        let log = format!("building\nerror: {kind}\n");
        let log_bytes = log.len() as u64;
        self.print(assignment, &log).await;
        let failure = Failure { kind, message: format!("it failed: {kind}") };
        self.report(assignment, Report::Failed { failure, log_bytes }).await;
    }

    /// Says what a builder printed first.
    pub(super) async fn print(&mut self, assignment: &Assignment, log: &str) {
        let (job, epoch, bytes) = (assignment.job, assignment.epoch, log.as_bytes().to_vec());
        self.session.receive(ToServer::Log { job, epoch, offset: 0, bytes }).await.unwrap();
    }

    /// Takes the next job, which has to be of this derivation.
    pub(super) async fn next_build(&mut self, derivation: Derivation) -> Assignment {
        let assignment = self.next().await;
        let Task::Build(task) = &assignment.task else { panic!("{:?} is no build", assignment.job) };
        assert_eq!(task.derivation.to_string(), derivation.path);
        assignment
    }

    pub(super) async fn report(&mut self, assignment: &Assignment, report: Report) {
        self.reports += 1;
        let (number, job, epoch) = (self.reports, assignment.job, assignment.epoch);
        self.session.receive(ToServer::Report { number, job, epoch, report }).await.unwrap();
    }

    /// Uploads a source tree, which then is at this path.
    async fn upload_source(&self, assignment: &Assignment, nar: &[u8]) -> StorePath {
        let address = CAHash::Nar(sha256(nar).into());
        let path = content_address::store_path("source", &address, &BTreeSet::new()).unwrap();
        let status = self.upload(assignment, &path, nar, Some(address.to_nix_string())).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        path
    }

    async fn upload(&self, assignment: &Assignment, path: &StorePath, nar: &[u8], address: Option<String>) -> StatusCode {
        let url = format!("{}{}", self.url, transfer::job_path(assignment.job, assignment.epoch, path));
        let mut request = self.http.put(url).bearer_auth(&self.token).body(zstd::encode_all(nar, 3).unwrap());
        if let Some(address) = address {
            request = request.header(transfer::CONTENT_ADDRESS_HEADER, address);
        }
        request.send().await.unwrap().status()
    }

    /// A request of the session.
    pub(super) fn request(&self, method: reqwest::Method, route: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{route}", self.url)).bearer_auth(&self.token)
    }

    /// Which of these paths the job's organization lacks.
    pub(super) async fn missing(&self, assignment: &Assignment, paths: Vec<StorePath>) -> Vec<StorePath> {
        let url = format!("{}{}", self.url, transfer::job_missing(assignment.job, assignment.epoch));
        let request = self.http.post(url).bearer_auth(&self.token).json(&transfer::Paths { paths });
        let answer: transfer::Missing = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
        answer.missing
    }

    /// Which of these derivations need not be sent.
    pub(super) async fn known(&self, assignment: &Assignment, derivations: &[Derivation]) -> reqwest::Response {
        let paths = derivations.iter().map(|derivation| derivation.path.parse().unwrap()).collect();
        let route = transfer::job_known(assignment.job, assignment.epoch);
        self.request(reqwest::Method::POST, &route).json(&transfer::Paths { paths }).send().await.unwrap()
    }

    /// The NAR of a path that the job may read.
    pub(super) async fn download(&self, assignment: &Assignment, path: &StorePath) -> Vec<u8> {
        let url = format!("{}{}", self.url, transfer::job_path(assignment.job, assignment.epoch, path));
        let response = self.http.get(url).bearer_auth(&self.token).send().await.unwrap().error_for_status().unwrap();
        zstd::decode_all(response.bytes().await.unwrap().as_ref()).unwrap()
    }
}

pub(super) fn sha256(bytes: &[u8]) -> NarHash {
    let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
    hasher.update(bytes);
    NarHash(hasher.finalize().digest_as_bytes().try_into().unwrap())
}

/// The NAR of a directory with these files, which are in order.
pub(super) fn tree(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut nar = Encoder::new(Vec::new()).unwrap();
    nar.start_directory(None).unwrap();
    for (name, contents) in files {
        nar.regular(Some(name.as_bytes()), false, contents).unwrap();
    }
    nar.end_directory().unwrap();
    nar.finish().unwrap()
}

/// A server on which Alice has the organization `acme`, with a project of a repository, a cache, and a worker.
pub(super) struct Workshop {
    pub(super) server: Server,
    pub(super) token: String,
    pub(super) worker: Worker,
    pub(super) repository: Repository,
}

impl Workshop {
    pub(super) async fn open(database: &str) -> Self {
        Self::of(Server::with_local_network(database).await).await
    }

    /// On a server that may ask this machine.
    pub(super) async fn of(server: Server) -> Self {
        let token = server.signed_in("alice").await;
        let alice = server.with(&token);
        alice.organization("acme", false).await;
        alice.cache("main", false).await;
        alice.post("/orgs/acme/subscribe/main", json!({})).await.message();
        let repository = Repository::new();
        repository.project(alice, "acme").await;
        let worker = Worker::connect(alice, "acme").await;
        Self { server, token, worker, repository }
    }

    pub(super) fn alice(&self) -> Client<'_> {
        self.server.with(&self.token)
    }

    /// Starts an evaluation of the project; its id.
    pub(super) async fn evaluate(&self) -> String {
        self.alice().post("/projects/acme/web/evaluate", json!({})).await.message().as_str().unwrap().to_owned()
    }

    /// Waits until the evaluation has this status.
    pub(super) async fn until(&self, evaluation: &str, status: &str) {
        soon(async {
            let mut pause = tokio::time::interval(Duration::from_millis(10));
            while self.alice().get(&format!("/evals/{evaluation}")).await.message()["status"] != status {
                pause.tick().await;
            }
        })
        .await;
    }
}

/// Fails the test rather than let it wait for ever.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("this takes too long")
}
