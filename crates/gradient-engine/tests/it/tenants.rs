//! Workers with a valid registration in an organization of their own, who want what is not theirs.

use std::time::Duration;

use gradient_domain::{BuildStatus, BuildTimes, EvaluationStatus, Failure, FailureKind, Job, Moment, WorkerId};
use gradient_engine::{Engine, EngineSettings, UploadError, WorkerSession};
use gradient_nix::StorePath;
use gradient_protocol::{DerivationFile, EntryPoint, RefusalCode, Report, ToServer, ToWorker};
use gradient_storage::{Conn, attempts, builds, evaluations};
use tokio::sync::mpsc;

use crate::world::{Tenant, World, capabilities, connect, soon, store_path};

gradient_test_support::both_databases!(
    a_worker_id_of_another_organization_opens_nothing,
    a_worker_is_not_pushed_out_by_a_younger_registration_of_its_id,
    jobs_outlive_a_session_of_another_under_their_workers_id,
    naming_the_job_of_another_worker_leaves_it_alone,
    an_archived_log_is_not_archived_again,
    a_log_ends_at_its_limit,
    what_a_worker_offers_later_has_the_same_limits,
    a_worker_that_does_not_read_loses_its_jobs,
    an_aborted_build_keeps_its_log,
    a_slot_is_free_once_an_aborted_build_has_stopped,
    a_build_that_had_ended_is_not_waited_for,
    a_build_runs_on_after_its_evaluation_and_a_restart,
    what_nobody_needs_after_a_restart_is_aborted,
    evaluations_may_find_the_same_derivation_at_once,
    an_upload_that_never_ends_is_refused,
);

async fn log(session: &mut WorkerSession, tenant: &Tenant, offset: u64, text: &str) {
    let (job, epoch, bytes) = (tenant.job(), Tenant::EPOCH, text.as_bytes().to_vec());
    session.receive(ToServer::Log { job, epoch, offset, bytes }).await.unwrap();
}

async fn read_log(engine: &Engine, tenant: &Tenant) -> String {
    let part = engine.log(tenant.build, None, 0, 1 << 20).await.unwrap().unwrap();
    String::from_utf8(part.bytes).unwrap()
}

/// The next message of this kind.
pub(crate) async fn next<T>(outbox: &mut mpsc::Receiver<ToWorker>, pick: impl Fn(&ToWorker) -> Option<T>) -> T {
    soon(async {
        loop {
            if let Some(found) = pick(&outbox.recv().await.expect("the session has ended")) {
                return found;
            }
        }
    })
    .await
}

pub(crate) fn cancelled(message: &ToWorker) -> Option<()> {
    matches!(message, ToWorker::Cancel { .. }).then_some(())
}

/// Waits until the database says so.
pub(crate) async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    soon(async {
        let mut pause = tokio::time::interval(Duration::from_millis(10));
        while !holds().await {
            pause.tick().await;
        }
    })
    .await;
}

async fn a_worker_id_of_another_organization_opens_nothing(url: &str) {
    let world = World::new(url).await;
    let victim = world.tenant("victim").await;
    let (_, token) = world.register("attacker", victim.worker, Moment::now()).await;
    let engine = world.start(EngineSettings::default()).await;

    let mut opened = connect(&engine, victim.worker, &token, vec![(victim.job(), Tenant::EPOCH)]).await.unwrap();
    let session = opened.welcome.session_token.clone();
    let read = engine.path_nar(&session, victim.job(), Tenant::EPOCH, victim.path.clone()).await;
    assert!(matches!(read, Err(UploadError::NotOwner { .. })), "{read:?}");
    let asked = engine.missing_paths(&session, victim.job(), Tenant::EPOCH, vec![victim.path.clone()]).await;
    assert!(matches!(asked, Err(UploadError::NotOwner { .. })), "{asked:?}");
    log(&mut opened.session, &victim, 0, "forged").await;
    assert_eq!(read_log(&engine, &victim).await, "");
}

async fn a_worker_is_not_pushed_out_by_a_younger_registration_of_its_id(url: &str) {
    let world = World::new(url).await;
    let victim = world.tenant("victim").await;
    let later = Moment::now().plus(Duration::from_secs(1));
    let (_, token) = world.register("attacker", victim.worker, later).await;
    let engine = world.start(EngineSettings::default()).await;

    let running = vec![(victim.job(), Tenant::EPOCH)];
    let owner = connect(&engine, victim.worker, &victim.token, running.clone()).await.unwrap();
    let refused = connect(&engine, victim.worker, &token, vec![]).await.map(drop).unwrap_err();
    assert_eq!(refused.code, RefusalCode::Unavailable);
    let read = engine.path_nar(&owner.welcome.session_token, victim.job(), Tenant::EPOCH, victim.path.clone()).await;
    assert!(read.is_ok(), "{:?}", read.err());

    owner.session.close().await;
    connect(&engine, victim.worker, &token, vec![]).await.unwrap();
    connect(&engine, victim.worker, &victim.token, running).await.expect("the older registration has the right to the id");
}

async fn jobs_outlive_a_session_of_another_under_their_workers_id(url: &str) {
    let world = World::new(url).await;
    let victim = world.tenant("victim").await;
    let later = Moment::now().plus(Duration::from_secs(1));
    let (_, token) = world.register("attacker", victim.worker, later).await;
    let engine = world.start(EngineSettings::default()).await;

    let running = vec![(victim.job(), Tenant::EPOCH)];
    let mut owner = connect(&engine, victim.worker, &victim.token, running.clone()).await.unwrap();
    log(&mut owner.session, &victim, 0, "first ").await;
    owner.session.close().await;
    for named in [vec![], running.clone()] {
        let stranger = connect(&engine, victim.worker, &token, named).await.unwrap();
        stranger.session.close().await;
    }
    let mut owner = connect(&engine, victim.worker, &victim.token, running).await.unwrap();
    log(&mut owner.session, &victim, 6, "second").await;
    assert_eq!(read_log(&engine, &victim).await, "first second");
    let failure = Failure { kind: FailureKind::Permanent, message: "no".to_owned() };
    let (job, epoch, report) = (victim.job(), Tenant::EPOCH, Report::Failed { failure, log_bytes: 12 });
    owner.session.receive(ToServer::Report { number: 1, job, epoch, report }).await.unwrap();
    until(async || status(&world, &victim).await == BuildStatus::Failed).await;
}

async fn naming_the_job_of_another_worker_leaves_it_alone(url: &str) {
    let world = World::new(url).await;
    let victim = world.tenant("victim").await;
    let stranger = WorkerId::random();
    let (_, token) = world.register("attacker", stranger, Moment::now()).await;
    let engine = world.start(EngineSettings::default()).await;

    let running = vec![(victim.job(), Tenant::EPOCH)];
    let mut owner = connect(&engine, victim.worker, &victim.token, running.clone()).await.unwrap();
    log(&mut owner.session, &victim, 0, "first ").await;
    let mut foreign = connect(&engine, stranger, &token, running).await.unwrap();
    next(&mut foreign.outbox, cancelled).await;

    log(&mut owner.session, &victim, 6, "second").await;
    assert_eq!(read_log(&engine, &victim).await, "first second");
}

async fn an_archived_log_is_not_archived_again(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let engine = world.start(EngineSettings::default()).await;

    let running = vec![(tenant.job(), Tenant::EPOCH)];
    let mut first = connect(&engine, tenant.worker, &tenant.token, running.clone()).await.unwrap();
    log(&mut first.session, &tenant, 0, "it failed").await;
    let failure = Failure { kind: FailureKind::Permanent, message: "no".to_owned() };
    let (job, epoch, report) = (tenant.job(), Tenant::EPOCH, Report::Failed { failure, log_bytes: 9 });
    first.session.receive(ToServer::Report { number: 1, job, epoch, report }).await.unwrap();
    let is_archived = async || {
        let build = tenant.build;
        let attempt = world.storage.read(async move |conn: &mut Conn| attempts::lookup(conn, build, None).await).await.unwrap();
        attempt.unwrap().log_frames.is_some()
    };
    until(is_archived).await;

    // Each is told that the job is not its own, and each time the attempt is over once more.
    for _ in 0..3 {
        let mut again = connect(&engine, tenant.worker, &tenant.token, running.clone()).await.unwrap();
        next(&mut again.outbox, cancelled).await;
        assert_eq!(read_log(&engine, &tenant).await, "it failed");
    }
}

async fn a_log_ends_at_its_limit(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let engine = world.start(EngineSettings { max_log_bytes: 8, ..EngineSettings::default() }).await;

    let running = vec![(tenant.job(), Tenant::EPOCH)];
    let mut worker = connect(&engine, tenant.worker, &tenant.token, running).await.unwrap();
    for offset in [0, 6, 12, 18] {
        log(&mut worker.session, &tenant, offset, "abcdef").await;
        let stored = next(&mut worker.outbox, |message| match message {
            ToWorker::LogStored { offset, .. } => Some(*offset),
            _ => None,
        });
        assert_eq!(stored.await, offset + 6, "the worker can forget what is too much");
    }
    assert_eq!(read_log(&engine, &tenant).await, "abcdefab");
}

async fn what_a_worker_offers_later_has_the_same_limits(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let engine = world.start(EngineSettings::default()).await;

    let mut worker = connect(&engine, tenant.worker, &tenant.token, vec![]).await.unwrap();
    worker.session.receive(ToServer::Capabilities(capabilities(u32::MAX))).await.unwrap();
    let [known] = engine.connected_workers().try_into().unwrap();
    assert_eq!(known.capabilities.build_slots, 1024);
}

pub(crate) async fn status(world: &World, tenant: &Tenant) -> BuildStatus {
    let build = tenant.build;
    world.storage.read(async move |conn: &mut Conn| builds::find(conn, build).await).await.unwrap().status
}

async fn a_worker_that_does_not_read_loses_its_jobs(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let engine = world.start(EngineSettings { lease: Duration::from_millis(50), ..EngineSettings::default() }).await;

    let running = vec![(tenant.job(), Tenant::EPOCH)];
    let mut worker = connect(&engine, tenant.worker, &tenant.token, running).await.unwrap();
    for number in 1.. {
        // A late report changes nothing, but it is acknowledged.
        let (job, epoch, report) = (tenant.job(), Tenant::EPOCH.next(), Report::Started {});
        if worker.session.receive(ToServer::Report { number, job, epoch, report }).await.is_err() {
            break;
        }
    }
    worker.session.close().await;
    until(async || status(&world, &tenant).await == BuildStatus::Queued).await;
}

async fn an_aborted_build_keeps_its_log(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let engine = world.start(EngineSettings::default()).await;

    let running = vec![(tenant.job(), Tenant::EPOCH)];
    let mut worker = connect(&engine, tenant.worker, &tenant.token, running).await.unwrap();
    log(&mut worker.session, &tenant, 0, "so far").await;
    engine.abort_evaluation(tenant.evaluation).await.unwrap();
    until(async || {
        let build = tenant.build;
        let attempt = world.storage.read(async move |conn: &mut Conn| attempts::lookup(conn, build, None).await).await.unwrap();
        attempt.unwrap().log_frames.is_some()
    })
    .await;
    let build = tenant.build;
    let attempt = world.storage.read(async move |conn: &mut Conn| attempts::lookup(conn, build, None).await).await.unwrap();
    assert_eq!(attempt.unwrap().failure_kind, Some(FailureKind::Aborted));
    assert_eq!(read_log(&engine, &tenant).await, "so far");
}

async fn a_slot_is_free_once_an_aborted_build_has_stopped(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let next_build = world.queued(&tenant).await;
    let engine = world.start(EngineSettings::default()).await;

    let (job, epoch) = (tenant.job(), Tenant::EPOCH);
    let mut worker = connect(&engine, tenant.worker, &tenant.token, vec![(job, epoch)]).await.unwrap();
    engine.abort_evaluation(tenant.evaluation).await.unwrap();
    next(&mut worker.outbox, cancelled).await;
    let failure = Failure { kind: FailureKind::Aborted, message: "the job was stopped".to_owned() };
    let report = Report::Failed { failure, log_bytes: 0 };
    worker.session.receive(ToServer::Report { number: 1, job, epoch, report }).await.unwrap();
    let assigned = next(&mut worker.outbox, |message| match message {
        ToWorker::Assign { job, .. } => Some(*job),
        _ => None,
    });
    assert_eq!(assigned.await, Job::Build(next_build));
}

async fn a_build_that_had_ended_is_not_waited_for(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let engine = world.start(EngineSettings::default()).await;

    // Behind the scheduler's back, as when it ends between being read for an evaluation and being added to it.
    let (build, evaluation, now) = (tenant.build, tenant.evaluation, Moment::now());
    let end = async move |conn: &mut Conn| {
        builds::complete(conn, build, Tenant::EPOCH, 1, now).await?;
        evaluations::set_sealed(conn, evaluation, gradient_domain::Epoch::NONE, now).await
    };
    world.storage.transaction(end).await.unwrap();
    // The worker comes back without it, so that it is queued and assigned anew.
    let _worker = connect(&engine, tenant.worker, &tenant.token, vec![]).await.unwrap();
    until(async || engine.live_workers().await.iter().all(|worker| worker.assigned_jobs == 0)).await;
    assert_eq!(status(&world, &tenant).await, BuildStatus::Completed);
}

/// The evaluation ends, softly, and then the server.
async fn abort_before_start(world: &World, tenant: &Tenant) {
    let (evaluation, now) = (tenant.evaluation, Moment::now());
    let abort =
        async move |conn: &mut Conn| evaluations::set_status(conn, evaluation, EvaluationStatus::Aborted, None, now).await;
    assert!(world.storage.transaction(abort).await.unwrap());
}

async fn a_build_runs_on_after_its_evaluation_and_a_restart(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    abort_before_start(&world, &tenant).await;
    let engine = world.start(EngineSettings::default()).await;

    let running = vec![(tenant.job(), Tenant::EPOCH)];
    let mut worker = connect(&engine, tenant.worker, &tenant.token, running).await.unwrap();
    let failure = Failure { kind: FailureKind::Permanent, message: "no".to_owned() };
    let (job, epoch, report) = (tenant.job(), Tenant::EPOCH, Report::Failed { failure, log_bytes: 0 });
    worker.session.receive(ToServer::Report { number: 1, job, epoch, report }).await.unwrap();
    until(async || status(&world, &tenant).await == BuildStatus::Failed).await;
}

async fn what_nobody_needs_after_a_restart_is_aborted(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    abort_before_start(&world, &tenant).await;
    let engine = world.start(EngineSettings::default()).await;

    let _worker = connect(&engine, tenant.worker, &tenant.token, vec![]).await.unwrap();
    until(async || status(&world, &tenant).await == BuildStatus::Aborted).await;
}

async fn evaluations_may_find_the_same_derivation_at_once(url: &str) {
    const PATH: &str = "j3m6sbf8qaqiy1648nxfixmc875kqhhz-base.drv";
    const ATERM: &[u8] = include_bytes!("../../../gradient-nix/tests/vectors/drv/j3m6sbf8qaqiy1648nxfixmc875kqhhz-base.drv");
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let mut workers = Vec::new();
    for _ in 0..6 {
        workers.push(world.evaluating(tenant.organization).await);
    }
    let engine = world.start(EngineSettings::default()).await;

    let path: StorePath = PATH.parse().unwrap();
    let mut evaluating = Vec::new();
    for (evaluation, worker, token) in &workers {
        let job = Job::Evaluate(*evaluation);
        let mut opened = connect(&engine, *worker, token, vec![(job, Tenant::EPOCH)]).await.unwrap();
        let derivations = vec![DerivationFile { path: path.clone(), aterm: ATERM.to_vec() }];
        let entry_points =
            vec![EntryPoint { attribute: "base".to_owned(), outcome: Ok(path.clone()), times: BuildTimes::default() }];
        let report = Report::Derivations { derivations, entry_points, messages: vec![] };
        let said = ToServer::Report { number: 1, job, epoch: Tenant::EPOCH, report };
        evaluating.push(async move { opened.session.receive(said).await });
    }
    for outcome in soon(futures_util::future::join_all(evaluating)).await {
        outcome.unwrap();
    }
    let mut builds = Vec::new();
    for (evaluation, ..) in workers {
        let [entry_point] = engine.entry_points(evaluation).await.unwrap().try_into().unwrap();
        builds.push(entry_point.build.unwrap().id);
    }
    builds.dedup();
    assert_eq!(builds.len(), 1, "they share the build");
}

async fn an_upload_that_never_ends_is_refused(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let engine = world.start(EngineSettings { max_nar_bytes: 1 << 10, ..EngineSettings::default() }).await;

    let worker = connect(&engine, tenant.worker, &tenant.token, vec![(tenant.job(), Tenant::EPOCH)]).await.unwrap();
    let token = &worker.welcome.session_token;
    let mut upload = engine.begin_upload(token, tenant.job(), Tenant::EPOCH, store_path(2, "package"), None).await.unwrap();
    // A frame that is to be skipped: all of it is read, and nothing comes of it.
    let skipped: Vec<u8> = [0x50, 0x2a, 0x4d, 0x18, 0xf8, 0xff, 0, 0].into_iter().chain(std::iter::repeat_n(0, 0xfff8)).collect();
    let accepted = soon(async {
        let mut accepted = 0;
        while accepted < 100 && upload.write(skipped.clone().into()).await.is_ok() {
            accepted += 1;
        }
        accepted
    });
    assert!(accepted.await < 100, "6 MiB were taken in for a NAR of at most 1 KiB");
    let verdict = upload.finish().await;
    assert!(matches!(verdict, Err(UploadError::Refused(_))), "{verdict:?}");
}
