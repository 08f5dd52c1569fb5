//! What workers say of the builds that evaluations import from.

use futures_util::TryStreamExt as _;
use gradient_blobs::BlobKey;
use gradient_domain::{
    BuildKind, BuildStatus, Epoch, EvaluationId, EvaluationStatus, Failure, FailureKind, Job, Moment, OrganizationId, WorkerId,
};
use gradient_engine::{BuildSummary, Engine, EngineSettings, Opened};
use gradient_nix::StorePath;
use gradient_protocol::{Report, ToServer};
use gradient_storage::{Conn, attempts, evaluations, ifd_builds};

use crate::{
    reaper::later,
    tenants::until,
    world::{Tenant, World, connect, soon, store_path},
};

gradient_test_support::both_databases!(
    a_build_is_shown_with_its_log_while_it_runs_and_afterwards,
    what_is_said_again_or_does_not_fit_changes_nothing,
    nobody_tells_of_what_another_worker_evaluates,
    what_is_no_import_ends_its_job,
    there_are_a_thousand_at_most,
    what_is_left_running_is_aborted,
    all_of_it_goes_with_its_evaluation,
);

/// A worker that is at an evaluation.
struct Evaluator {
    engine: Engine,
    organization: OrganizationId,
    evaluation: EvaluationId,
    worker: WorkerId,
    token: String,
    opened: Opened,
    number: u64,
}

impl Evaluator {
    async fn start(world: &World, name: &str, settings: EngineSettings) -> Self {
        let (organization, _) = world.register(name, WorkerId::random(), Moment::now()).await;
        let (evaluation, worker, token) = world.evaluating(organization).await;
        let engine = world.start(settings).await;
        let opened = connect(&engine, worker, &token, vec![(Job::Evaluate(evaluation), Tenant::EPOCH)]).await.unwrap();
        Self { engine, organization, evaluation, worker, token, opened, number: 0 }
    }

    async fn say(&mut self, report: Report) {
        self.say_of(Job::Evaluate(self.evaluation), Tenant::EPOCH, report).await;
    }

    async fn say_of(&mut self, job: Job, epoch: Epoch, report: Report) {
        self.number += 1;
        self.opened.session.receive(ToServer::Report { number: self.number, job, epoch, report }).await.unwrap();
    }

    async fn print(&mut self, offset: u64, text: &str) {
        let (derivation, bytes) = (made(), text.as_bytes().to_vec());
        self.say(Report::IfdLog { derivation, offset, bytes }).await;
    }

    async fn builds(&self) -> Vec<BuildSummary> {
        let page = self.engine.evaluation_builds(self.evaluation, 2000, 0, None).await.unwrap();
        assert_eq!(page.total, i64::try_from(page.builds.len()).unwrap());
        page.builds
    }

    /// The only build, once it stands there.
    async fn one(&self, status: BuildStatus) -> BuildSummary {
        until(async || matches!(&self.builds().await[..], [build] if build.status == status)).await;
        self.builds().await.remove(0)
    }

    async fn log(&self, build: &BuildSummary) -> String {
        let part = self.engine.log(build.id, None, 0, 1000).await.unwrap().expect("there is an attempt");
        String::from_utf8(part.bytes).unwrap()
    }
}

fn made() -> StorePath {
    store_path(7, "made-1.0.drv")
}

fn started(derivation: StorePath) -> Report {
    Report::IfdStarted { derivation, system: "x86_64-linux".to_owned() }
}

fn ended(failure: Option<Failure>) -> Report {
    Report::IfdEnded { derivation: made(), failure, build_ms: 5 }
}

fn broken() -> Failure {
    Failure { kind: FailureKind::Permanent, message: "it broke".to_owned() }
}

async fn a_build_is_shown_with_its_log_while_it_runs_and_afterwards(url: &str) {
    let world = World::new(url).await;
    for (number, failure) in [None, Some(broken())].into_iter().enumerate() {
        let mut evaluator = Evaluator::start(&world, &format!("acme-{number}"), EngineSettings::default()).await;
        evaluator.say(started(made())).await;
        evaluator.print(0, "making it\n").await;
        let build = evaluator.one(BuildStatus::Building).await;
        assert_eq!((build.kind, build.name.as_str(), build.drv_path.clone()), (BuildKind::Ifd, "made-1.0", made()));
        until(async || evaluator.log(&build).await == "making it\n").await;
        let engine = evaluator.engine.clone();
        assert_eq!(engine.build_organization(build.id).await.unwrap(), Some(evaluator.organization));
        let sentence = engine.explain_build(build.id).await.unwrap().sentence;
        assert!(sentence.contains(&evaluator.worker.to_string()), "{sentence}");
        let live = tokio::spawn(engine.follow_log(build.id).try_collect::<Vec<_>>());
        let lines = tokio::spawn(engine.follow_evaluation(evaluator.evaluation).try_collect::<Vec<_>>());

        evaluator.print(10, "nearly\n").await;
        evaluator.say(ended(failure.clone())).await;
        let status = if failure.is_some() { BuildStatus::Failed } else { BuildStatus::Completed };
        evaluator.one(status).await;
        assert_eq!(soon(live).await.unwrap().unwrap().concat(), b"making it\nnearly\n");
        assert_eq!(evaluator.log(&build).await, "making it\nnearly\n");
        let details = engine.build(build.id).await.unwrap();
        assert_eq!((details.build.status, details.build.system.as_str()), (status, "x86_64-linux"));
        assert_eq!((details.build.worker, details.build.duration_ms), (Some(evaluator.worker), Some(5)));
        assert_eq!(
            (details.build.failure_kind, details.build.failure_message),
            match failure {
                Some(failure) => (Some(failure.kind), Some(failure.message)),
                None => (None, None),
            }
        );
        assert_eq!((details.evaluation, details.cached_failure), (Some(evaluator.evaluation), false));
        assert_eq!(engine.build_graph(build.id, 10).await.unwrap().nodes.len(), 1);
        assert!(engine.build_dependencies(build.id).await.unwrap().is_empty());
        assert!(engine.downloads(build.id).await.unwrap().is_empty());

        // It is no build that the evaluation waits for, whatever became of it.
        evaluator.say(Report::Evaluated {}).await;
        let row = async || engine.evaluation(evaluator.evaluation).await.unwrap();
        until(async || row().await.status == EvaluationStatus::Completed).await;
        assert_eq!(row().await.builds.total(), 0);
        let lines = soon(lines).await.unwrap().unwrap().concat();
        let lines: Vec<String> = lines.into_iter().map(|line| format!("{}> {}", line.build, line.line)).collect();
        assert_eq!(lines, ["made-1.0> making it", "made-1.0> nearly"]);
        assert_eq!(evaluator.builds().await.len(), 1);
    }
}

async fn what_is_said_again_or_does_not_fit_changes_nothing(url: &str) {
    let world = World::new(url).await;
    let settings = EngineSettings { max_log_bytes: 12, ..EngineSettings::default() };
    let mut evaluator = Evaluator::start(&world, "acme", settings).await;
    // Of what has not begun nothing is known.
    evaluator.print(0, "too early").await;
    evaluator.say(ended(None)).await;
    evaluator.say(started(made())).await;
    evaluator.print(0, "one\n").await;
    evaluator.print(4, "two\n").await;
    evaluator.opened.session.close().await;
    let running = vec![(Job::Evaluate(evaluator.evaluation), Tenant::EPOCH)];
    evaluator.opened = connect(&evaluator.engine, evaluator.worker, &evaluator.token, running).await.unwrap();
    evaluator.say(started(made())).await;
    evaluator.print(4, "two\n").await;
    evaluator.print(100, "behind a gap").await;
    evaluator.print(8, "three\n").await;
    evaluator.say(ended(None)).await;
    evaluator.say(ended(Some(broken()))).await;
    evaluator.print(12, "after the end").await;
    evaluator.say(started(made())).await;
    evaluator.say(started(store_path(8, "last.drv"))).await;
    until(async || evaluator.builds().await.len() == 2).await;
    let build = evaluator.builds().await.remove(0);
    assert_eq!((build.drv_path.clone(), build.status), (made(), BuildStatus::Completed));
    assert_eq!(evaluator.log(&build).await, "one\ntwo\nthre", "as much as a log may have");
}

async fn nobody_tells_of_what_another_worker_evaluates(url: &str) {
    let world = World::new(url).await;
    let victim = Evaluator::start(&world, "victim", EngineSettings::default()).await;
    let mut attacker = Evaluator::start(&world, "attacker", EngineSettings::default()).await;
    let job = Job::Evaluate(victim.evaluation);
    for epoch in [Tenant::EPOCH, Tenant::EPOCH.next()] {
        attacker.say_of(job, epoch, started(made())).await;
    }
    attacker.say_of(Job::Evaluate(attacker.evaluation), Tenant::EPOCH.next(), started(made())).await;
    // Whatever was said before this is taken in by now.
    attacker.say(started(store_path(8, "own.drv"))).await;
    assert_eq!(attacker.one(BuildStatus::Building).await.name, "own");
    assert!(victim.builds().await.is_empty());

    let theirs = attacker.builds().await.remove(0);
    let page = victim.engine.evaluation_builds(victim.evaluation, 10, 0, None).await.unwrap();
    assert_eq!(page.total, 0);
    assert_eq!(victim.engine.build_organization(theirs.id).await.unwrap(), Some(attacker.organization));
}

async fn what_is_no_import_ends_its_job(url: &str) {
    let world = World::new(url).await;
    let mut evaluator = Evaluator::start(&world, "no-derivation", EngineSettings::default()).await;
    evaluator.say(started(store_path(7, "made-1.0"))).await;
    let lost = async || {
        let evaluation = evaluator.engine.evaluation(evaluator.evaluation).await.unwrap();
        evaluation.status == EvaluationStatus::Waiting
    };
    until(lost).await;
    assert!(evaluator.builds().await.is_empty());

    let tenant = world.tenant("builder").await;
    let engine = world.start(EngineSettings::default()).await;
    let mut opened = connect(&engine, tenant.worker, &tenant.token, vec![(tenant.job(), Tenant::EPOCH)]).await.unwrap();
    let (job, epoch, report) = (tenant.job(), Tenant::EPOCH, started(made()));
    opened.session.receive(ToServer::Report { number: 1, job, epoch, report }).await.unwrap();
    until(async || world.build_status(tenant.build).await == BuildStatus::Queued).await;
    let build = tenant.build;
    let tried = world.storage.read(async move |conn: &mut Conn| attempts::list(conn, build).await).await.unwrap();
    assert_eq!(tried[0].failure_kind, Some(FailureKind::WorkerUnfit));
}

async fn there_are_a_thousand_at_most(url: &str) {
    let world = World::new(url).await;
    let mut evaluator = Evaluator::start(&world, "acme", EngineSettings::default()).await;
    for number in 0..1001 {
        evaluator.say(started(store_path(number, "made.drv"))).await;
    }
    evaluator.say(Report::Evaluated {}).await;
    let find = async || evaluator.engine.evaluation(evaluator.evaluation).await.unwrap();
    until(async || find().await.status == EvaluationStatus::Completed).await;
    let builds = evaluator.builds().await;
    assert_eq!(builds.len(), 1000);
    assert!(builds.iter().all(|build| build.status == BuildStatus::Aborted));
    let page = evaluator.engine.evaluation_builds(evaluator.evaluation, 5, 998, Some(BuildStatus::Aborted)).await.unwrap();
    assert_eq!((page.builds.len(), page.total), (2, 1000));
    assert_eq!(page.builds[0].id, builds[998].id);
}

async fn what_is_left_running_is_aborted(url: &str) {
    let world = World::new(url).await;
    let begin = async |name: &str| {
        let mut evaluator = Evaluator::start(&world, name, EngineSettings::default()).await;
        evaluator.say(started(made())).await;
        evaluator.print(0, "so far").await;
        let build = evaluator.one(BuildStatus::Building).await;
        until(async || evaluator.log(&build).await == "so far").await;
        let live = tokio::spawn(evaluator.engine.follow_log(build.id).try_collect::<Vec<_>>());
        (evaluator, live)
    };
    let check = async |evaluator: &Evaluator, live: tokio::task::JoinHandle<Result<Vec<Vec<u8>>, _>>, case: &str| {
        let build = evaluator.one(BuildStatus::Aborted).await;
        let followed: Result<Vec<Vec<u8>>, gradient_engine::EngineError> = soon(live).await.unwrap();
        assert_eq!(followed.unwrap().concat(), b"so far", "{case}");
        assert_eq!(evaluator.log(&build).await, "so far", "{case}");
        let id = build.id;
        let attempt = async || world.storage.read(async move |conn: &mut Conn| attempts::lookup(conn, id, None).await).await;
        until(async || attempt().await.unwrap().unwrap().log_frames.is_some()).await;
    };

    let (evaluator, live) = begin("aborted").await;
    evaluator.engine.abort_evaluation(evaluator.evaluation).await.unwrap();
    check(&evaluator, live, "the evaluation is aborted").await;

    let (mut evaluator, live) = begin("failed").await;
    let failure = Failure { kind: FailureKind::Transient, message: "the machine is on fire".to_owned() };
    evaluator.say(Report::Failed { failure, log_bytes: 0 }).await;
    check(&evaluator, live, "the worker gives up").await;

    let (mut evaluator, live) = begin("evaluated").await;
    evaluator.say(Report::Evaluated {}).await;
    check(&evaluator, live, "the evaluation is over").await;

    let (evaluator, live) = begin("lost").await;
    let Evaluator { engine, organization, evaluation, worker, token, opened, number } = evaluator;
    opened.session.close().await;
    let opened = connect(&engine, worker, &token, vec![]).await.unwrap();
    let mut evaluator = Evaluator { engine, organization, evaluation, worker, token, opened, number };
    check(&evaluator, live, "the worker has lost it").await;
    evaluator.print(6, " and more").await;
    evaluator.say(ended(None)).await;
    assert_eq!(evaluator.one(BuildStatus::Aborted).await.name, "made-1.0");

    // What the next assignment runs is another build.
    let (evaluation, worker) = (evaluator.evaluation, evaluator.worker);
    let again = async move |conn: &mut Conn| {
        evaluations::assign(conn, evaluation, Epoch(2), worker, Moment::now()).await?;
        let place = ifd_builds::Place { evaluation, epoch: Epoch(2), drv_path: made() };
        ifd_builds::begin(conn, place, worker, "x86_64-linux".to_owned(), 10, Moment::now()).await
    };
    assert!(world.storage.transaction(again).await.unwrap().is_some());
    let statuses: Vec<_> = evaluator.builds().await.into_iter().map(|build| build.status).collect();
    assert_eq!(statuses, [BuildStatus::Aborted, BuildStatus::Building]);
}

async fn all_of_it_goes_with_its_evaluation(url: &str) {
    let world = World::new(url).await;
    let settings = EngineSettings { keep_direct_builds: 1, ..EngineSettings::default() };
    let mut evaluator = Evaluator::start(&world, "acme", settings).await;
    evaluator.say(started(made())).await;
    evaluator.print(0, "making it\n").await;
    evaluator.say(ended(None)).await;
    evaluator.say(Report::Evaluated {}).await;
    let build = evaluator.one(BuildStatus::Completed).await;
    let log = BlobKey::log(build.id.uuid(), ifd_builds::ATTEMPT.0);
    until(async || world.blobs.size(&log).await.unwrap().is_some()).await;
    let find = async || evaluator.engine.lookup_evaluation(evaluator.evaluation).await.unwrap();
    until(async || find().await.unwrap().status == EvaluationStatus::Completed).await;

    world.unannounced(evaluator.organization).await;
    soon(evaluator.engine.reap(later(Moment::now(), 1))).await.unwrap();
    assert!(find().await.is_none());
    let id = build.id;
    let left = async move |conn: &mut Conn| Ok((ifd_builds::lookup(conn, id).await?, attempts::lookup(conn, id, None).await?));
    assert_eq!(world.storage.read(left).await.unwrap(), (None, None));
    assert!(world.blobs.size(&log).await.unwrap().is_none());
}
