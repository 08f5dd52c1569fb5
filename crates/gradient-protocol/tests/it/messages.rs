//! One of each message, with something in each field.

use std::{fmt::Debug, str::FromStr};

use gradient_domain::{BuildTimes, Epoch, Failure, FailureKind, Job, JobKind, MessageLevel, OrganizationId, Shortage, WorkerId};
use gradient_nix::{NarHash, StorePath};
use gradient_protocol::{
    AcceptedPeer, BuildLimits, BuildTask, BuiltOutput, Capabilities, DerivationFile, EntryPoint, EvaluateTask, EvaluationMessage,
    FetchTask, GitAccess, Hello, InputPath, Load, PeerSelector, PeerToken, RefusalCode, RefusedPeer, Report, Source, Task,
    ToServer, ToWorker, VersionRange, Welcome,
};

const EPOCH: Epoch = Epoch(3);

fn id<T: FromStr<Err: Debug>>() -> T {
    "0198b2c4-5d6e-7f80-9123-456789abcdef".parse().unwrap()
}

fn worker() -> WorkerId {
    "7f2c1d7e-1f5a-4b7e-9d0a-3a7f0a9a4b11".parse().unwrap()
}

fn path(name: &str) -> StorePath {
    format!("{}-{name}", "1".repeat(32)).parse().unwrap()
}

fn source() -> Source {
    Source {
        path: path("source"),
        nar_hash: NarHash([5; 32]),
        rev: Some("0123456789abcdef0123456789abcdef01234567".into()),
        rev_count: Some(12),
        last_modified: Some(1_700_000_000),
    }
}

fn capabilities() -> Capabilities {
    Capabilities {
        kinds: JobKind::ALL.to_vec(),
        systems: vec!["x86_64-linux".into()],
        features: vec!["kvm".into()],
        build_slots: 4,
        cores: 8,
        memory_bytes: 16 << 30,
        separates_peers: true,
        nix_version: "2.34.0".into(),
        signing_keys: vec!["cache-1:AAAA".into()],
    }
}

pub(crate) fn of_workers() -> Vec<(&'static str, ToServer)> {
    let report = |number, job, report| ToServer::Report { number, job, epoch: EPOCH, report };
    let hello = Hello {
        versions: VersionRange { min: 1, max: 1 },
        worker: worker(),
        program: "gradient-worker 0.1.0".into(),
        tokens: vec![
            PeerToken { peer: PeerSelector::Any, token: "A".repeat(64) },
            PeerToken { peer: PeerSelector::Organization(id()), token: "B".repeat(64) },
        ],
        capabilities: capabilities(),
        running: vec![(Job::Build(id()), EPOCH)],
        draining: true,
        process: Some(u64::MAX),
    };
    let load = Load { load_average: 1.5, memory_free_bytes: 1 << 30, disk_free_bytes: 1 << 20, shortage: Some(Shortage::Disk) };
    let derivations = Report::Derivations {
        derivations: vec![DerivationFile { path: path("hello.drv"), aterm: b"Derive()".to_vec() }],
        entry_points: vec![
            EntryPoint { attribute: "packages.hello".into(), outcome: Ok(path("hello.drv")), times: BuildTimes::default() },
            EntryPoint { attribute: "packages.broken".into(), outcome: Err("error: no".into()), times: BuildTimes::default() },
        ],
        messages: vec![EvaluationMessage {
            level: MessageLevel::Warning,
            source: "nix".into(),
            attribute: Some("packages.hello".into()),
            message: "old".into(),
        }],
    };
    let timed = Report::Derivations {
        derivations: vec![],
        entry_points: vec![EntryPoint {
            attribute: "packages.hello".into(),
            outcome: Ok(path("hello.drv")),
            times: BuildTimes { timeout_secs: Some(60), max_silent_secs: Some(10) },
        }],
        messages: vec![],
    };
    let output = BuiltOutput {
        name: "out".into(),
        path: path("hello"),
        nar_hash: NarHash([6; 32]),
        nar_size: 120,
        references: vec![path("glibc")],
    };
    let failure = Failure { kind: FailureKind::Timeout, message: "timed out after 3 seconds".into() };
    let started = Report::IfdStarted { derivation: path("made.drv"), system: "x86_64-linux".into() };
    let printed = Report::IfdLog { derivation: path("made.drv"), offset: 10, bytes: b"line\n".to_vec() };
    let ended = |failure| Report::IfdEnded { derivation: path("made.drv"), failure, build_ms: 5 };
    let failed = Failure { kind: FailureKind::Permanent, message: "it broke".into() };
    vec![
        ("worker.hello", ToServer::Hello(hello)),
        ("worker.capabilities", ToServer::Capabilities(capabilities())),
        ("worker.report.started", report(1, Job::Build(id()), Report::Started {})),
        ("worker.report.fetched", report(2, Job::Fetch(id()), Report::Fetched { source: source() })),
        ("worker.report.derivations", report(3, Job::Evaluate(id()), derivations)),
        ("worker.report.derivations.timed", report(3, Job::Evaluate(id()), timed)),
        ("worker.report.evaluated", report(4, Job::Evaluate(id()), Report::Evaluated {})),
        ("worker.report.made", report(5, Job::Build(id()), Report::Made { outputs: vec![] })),
        ("worker.report.built", report(6, Job::Build(id()), Report::Built { outputs: vec![output], build_ms: 5, log_bytes: 7 })),
        ("worker.report.failed", report(7, Job::Build(id()), Report::Failed { failure, log_bytes: 7 })),
        ("worker.report.ifd_started", report(8, Job::Evaluate(id()), started)),
        ("worker.report.ifd_log", report(9, Job::Evaluate(id()), printed)),
        ("worker.report.ifd_ended.ok", report(10, Job::Evaluate(id()), ended(None))),
        ("worker.report.ifd_ended.failed", report(10, Job::Evaluate(id()), ended(Some(failed)))),
        ("worker.log", ToServer::Log { job: Job::Build(id()), epoch: EPOCH, offset: 10, bytes: b"line\n".to_vec() }),
        ("worker.load", ToServer::Load(load)),
        ("worker.draining", ToServer::Draining {}),
        ("worker.signed.ok", ToServer::Signed { number: 9, signatures: Ok(vec!["cache-1:AAAA".into()]) }),
        ("worker.signed.err", ToServer::Signed { number: 9, signatures: Err("no such key".into()) }),
        ("worker.unsupported", ToServer::Unsupported { message_type: "fancy".into() }),
    ]
}

pub(crate) fn of_servers() -> Vec<(&'static str, ToWorker)> {
    let peer: OrganizationId = id();
    let assign = |job, task| ToWorker::Assign { job, epoch: EPOCH, peer, task: Box::new(task) };
    let welcome = Welcome {
        version: 1,
        session_token: "secret".into(),
        peers: vec![AcceptedPeer { id: id(), name: "acme".into() }],
        refused: vec![RefusedPeer { id: id(), reason: "one store".into() }],
        lease_secs: 300,
    };
    let access = GitAccess { ssh_private_key: "key".into(), known_hosts: "example.org ssh-ed25519 AAAA\n".into() };
    let fetch = FetchTask {
        repository: "ssh://git@example.org/repository".into(),
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        reference: Some("main".into()),
        access: Some(access),
    };
    let input = InputPath {
        path: path("glibc"),
        nar_hash: NarHash([7; 32]),
        nar_size: 1000,
        references: vec![path("glibc")],
        deriver: Some(path("glibc.drv")),
        content_address: Some("fixed:r:sha256:0000000000000000000000000000000000000000000000000000".into()),
        upstream: None,
    };
    let limits = BuildLimits {
        timeout_secs: Some(60),
        max_silent_secs: Some(10),
        max_log_bytes: 64 << 20,
        max_output_bytes: Some(1 << 30),
    };
    let build = BuildTask { derivation: path("hello.drv"), aterm: b"Derive()".to_vec(), inputs: vec![input], limits };
    let evaluate = EvaluateTask { source: source(), wildcard: "packages.*".into(), allow_ifd: true, show_ifd: false };
    let shown = EvaluateTask { show_ifd: true, ..evaluate.clone() };
    vec![
        ("server.welcome", ToWorker::Welcome(welcome)),
        ("server.refused", ToWorker::Refused { code: RefusalCode::Unauthorized, message: "no token fits".into() }),
        ("server.assign.fetch", assign(Job::Fetch(id()), Task::Fetch(fetch))),
        ("server.assign.evaluate", assign(Job::Evaluate(id()), Task::Evaluate(evaluate))),
        ("server.assign.evaluate.shown", assign(Job::Evaluate(id()), Task::Evaluate(shown))),
        ("server.assign.build", assign(Job::Build(id()), Task::Build(build))),
        ("server.assign.large", assign(Job::Build(id()), Task::Large {})),
        ("server.cancel", ToWorker::Cancel { job: Job::Build(id()), epoch: EPOCH, reason: "aborted".into() }),
        ("server.sign", ToWorker::Sign { number: 9, key: "cache-1:AAAA".into(), fingerprints: vec!["1;/nix/store/x".into()] }),
        ("server.drain", ToWorker::Drain {}),
        ("server.acknowledged", ToWorker::Acknowledged { number: 7 }),
        ("server.log_stored", ToWorker::LogStored { job: Job::Build(id()), epoch: EPOCH, offset: 15 }),
        ("server.unsupported", ToWorker::Unsupported { message_type: "fancy".into() }),
    ]
}
