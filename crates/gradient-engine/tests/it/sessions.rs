//! What a session means for the jobs of its worker.

use gradient_domain::{BuildStatus, Epoch, Failure, FailureKind, Job, Moment};
use gradient_engine::EngineSettings;
use gradient_nix::NarHash;
use gradient_protocol::{BuiltOutput, RefusalCode, Report, Task, ToServer, ToWorker, decode_task};
use gradient_storage::{Conn, attempts, builds};
use tokio::sync::oneshot;

use crate::{
    tenants::{next, until},
    world::{Tenant, World, connect, connect_process, store_path},
};

gradient_test_support::both_databases!(
    a_task_that_is_too_large_for_a_message_is_read_beside_it,
    of_two_processes_with_one_id_the_one_that_is_heard_stays,
    a_worker_that_is_removed_has_no_session_and_no_jobs,
    a_build_that_was_published_unheard_ends_when_it_is_said_again,
    a_dependent_begins_with_what_its_worker_has_just_made,
    a_slot_is_free_while_what_was_said_before_is_written_down,
    a_session_ends_with_what_cannot_be_taken_in_later,
);

fn assigned(message: &ToWorker) -> Option<(Job, Epoch, Task)> {
    match message {
        ToWorker::Assign { job, epoch, task, .. } => Some((*job, *epoch, (**task).clone())),
        _ => None,
    }
}

async fn a_task_that_is_too_large_for_a_message_is_read_beside_it(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("acme").await;
    let large = world.queued_with(&tenant, 5 << 20).await;
    let engine = world.start(EngineSettings::default()).await;
    // What it had is lost, and comes anew when its time has come; the other one is assigned at once.
    let mut opened = connect(&engine, tenant.worker, &tenant.token, vec![(tenant.job(), Tenant::EPOCH)]).await.unwrap();
    let report = Report::Made { outputs: vec![] };
    let (job, epoch) = (tenant.job(), Tenant::EPOCH);
    opened.session.receive(ToServer::Report { number: 1, job, epoch, report }).await.unwrap();

    let (job, epoch, task) = next(&mut opened.outbox, assigned).await;
    assert_eq!((job, task), (Job::Build(large), Task::Large {}));
    let bytes = engine.task(&opened.welcome.session_token, job, epoch).await.unwrap();
    let Task::Build(task) = decode_task(&bytes).unwrap() else { panic!("no build") };
    assert!(task.aterm.len() > 5 << 20);
    engine.task(&opened.welcome.session_token, job, Epoch(epoch.0 + 1)).await.expect_err("another assignment");
}

async fn of_two_processes_with_one_id_the_one_that_is_heard_stays(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("acme").await;
    let engine = world.start(EngineSettings::default()).await;
    let running = vec![(tenant.job(), Tenant::EPOCH)];
    let first = connect_process(&engine, &tenant, running.clone(), 1).await.unwrap();
    let refused = connect_process(&engine, &tenant, vec![], 2).await.map(drop).unwrap_err();
    assert_eq!(refused.code, RefusalCode::Unavailable);
    assert!(refused.message.contains("every worker needs an id of its own"), "{refused}");
    // The same process comes over a new connection, before the end of the old one was noticed.
    let again = connect_process(&engine, &tenant, running, 1).await.unwrap();
    first.session.close().await;
    again.session.close().await;
    connect_process(&engine, &tenant, vec![], 2).await.expect("nobody else is there");
}

async fn a_worker_that_is_removed_has_no_session_and_no_jobs(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("acme").await;
    let engine = world.start(EngineSettings::default()).await;
    let mut opened = connect(&engine, tenant.worker, &tenant.token, vec![(tenant.job(), Tenant::EPOCH)]).await.unwrap();
    engine.unregister_worker(tenant.organization, tenant.worker).await.unwrap();
    while opened.outbox.recv().await.is_some() {}
    opened.session.close().await;
    until(async || world.build_status(tenant.build).await == BuildStatus::Queued).await;
    let refused = connect(&engine, tenant.worker, &tenant.token, vec![]).await.map(drop).unwrap_err();
    assert_eq!(refused.code, RefusalCode::Unauthorized);
}

async fn a_build_that_was_published_unheard_ends_when_it_is_said_again(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("acme").await;
    let engine = world.start(EngineSettings::default()).await;
    let mut opened = connect(&engine, tenant.worker, &tenant.token, vec![(tenant.job(), Tenant::EPOCH)]).await.unwrap();
    let (build, now) = (tenant.build, Moment::now());
    let published = async move |conn: &mut Conn| builds::complete(conn, build, Tenant::EPOCH, 5, now).await;
    assert!(world.storage.transaction(published).await.unwrap());

    let (job, epoch, report) = (tenant.job(), Tenant::EPOCH, Report::Built { outputs: vec![], build_ms: 5, log_bytes: 0 });
    opened.session.receive(ToServer::Report { number: 1, job, epoch, report }).await.unwrap();
    until(async || engine.live_workers().await.iter().all(|live| live.assigned_jobs == 0)).await;
    let attempts = world.storage.read(async move |conn: &mut Conn| gradient_storage::attempts::list(conn, build).await).await;
    assert!(attempts.unwrap().iter().all(|attempt| attempt.failure_kind.is_none()));
    assert_eq!(world.build_status(tenant.build).await, BuildStatus::Completed);
}

async fn a_dependent_begins_with_what_its_worker_has_just_made(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("acme").await;
    let dependent = world.dependent(&tenant).await;
    let engine = world.start(EngineSettings::default()).await;
    let mut opened = connect(&engine, tenant.worker, &tenant.token, vec![(tenant.job(), Tenant::EPOCH)]).await.unwrap();
    let output = |number, references| BuiltOutput {
        name: "out".into(),
        path: store_path(number, "package"),
        nar_hash: NarHash([9; 32]),
        nar_size: 120,
        references,
    };
    let say = |number, job, report| ToServer::Report { number, job, epoch: Tenant::EPOCH, report };

    // Nothing begins with an output that could not be the build's.
    let foreign = Report::Made { outputs: vec![output(2, vec![store_path(8, "foreign")])] };
    opened.session.receive(say(1, tenant.job(), foreign)).await.unwrap();
    let made = Report::Made { outputs: vec![output(2, vec![])] };
    opened.session.receive(say(2, tenant.job(), made)).await.unwrap();
    let (job, epoch, task) = next(&mut opened.outbox, assigned).await;
    let Task::Build(task) = task else { panic!("no build") };
    assert_eq!((job, epoch), (Job::Build(dependent), Epoch(1)));
    assert_eq!(
        task.inputs.iter().map(|input| (&input.path, input.nar_hash)).collect::<Vec<_>>(),
        [(&store_path(2, "package"), NarHash([9; 32]))]
    );

    // Its own end counts for nothing before that of its input, whatever the worker says.
    let built = Report::Built { outputs: vec![output(7, vec![])], build_ms: 5, log_bytes: 0 };
    opened.session.receive(say(3, job, built)).await.unwrap();
    until(async || world.build_status(dependent).await == BuildStatus::Queued).await;
    let tried = world.storage.read(async move |conn: &mut Conn| attempts::list(conn, dependent).await).await.unwrap();
    assert_eq!(tried.iter().map(|attempt| attempt.failure_kind).collect::<Vec<_>>(), [Some(FailureKind::InputsMissing)]);
    assert_eq!(world.build_status(tenant.build).await, BuildStatus::Building);

    // It fails with its input.
    let failure = Failure { kind: FailureKind::Permanent, message: "no".into() };
    opened.session.receive(say(4, tenant.job(), Report::Failed { failure, log_bytes: 0 })).await.unwrap();
    until(async || world.build_status(dependent).await == BuildStatus::DependencyFailed).await;
}

async fn a_slot_is_free_while_what_was_said_before_is_written_down(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("acme").await;
    let engine = world.start(EngineSettings::default()).await;
    let mut opened = connect(&engine, tenant.worker, &tenant.token, vec![(tenant.job(), Tenant::EPOCH)]).await.unwrap();
    let say = |number, report| ToServer::Report { number, job: tenant.job(), epoch: Tenant::EPOCH, report };

    // Somebody has the row that the first report is to change, and does not let go of it yet.
    let (begun, has_begun) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let (storage, build, now) = (world.storage.clone(), tenant.build, Moment::now());
    let holder = tokio::spawn(async move {
        let hold = async move |conn: &mut Conn| {
            attempts::set_started(conn, build, Tenant::EPOCH, now).await?;
            begun.send(()).unwrap();
            let _ = released.await;
            Ok(())
        };
        storage.transaction(hold).await.unwrap();
    });
    has_begun.await.unwrap();
    opened.session.receive_later(say(1, Report::Started {})).await.unwrap();
    opened.session.receive_later(say(2, Report::Made { outputs: vec![] })).await.unwrap();
    let acknowledged = |message: &ToWorker| match message {
        ToWorker::Acknowledged { number } => Some(*number),
        _ => None,
    };
    assert_eq!(next(&mut opened.outbox, acknowledged).await, 2);
    release.send(()).unwrap();
    holder.await.unwrap();
    assert_eq!(next(&mut opened.outbox, acknowledged).await, 1);
}

async fn a_session_ends_with_what_cannot_be_taken_in_later(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("acme").await;
    let engine = world.start(EngineSettings::default()).await;
    let mut opened = connect(&engine, tenant.worker, &tenant.token, vec![(tenant.job(), Tenant::EPOCH)]).await.unwrap();
    let log = ToServer::Log { job: tenant.job(), epoch: Tenant::EPOCH, offset: 0, bytes: vec![0; (256 << 10) + 1] };
    opened.session.receive_later(log.clone()).await.unwrap();
    assert_eq!(opened.session.failed().await.to_string(), "a log message of more than 256 KiB");
    opened.session.receive_later(log.clone()).await.unwrap_err();
    opened.session.close().await;

    let mut again = connect(&engine, tenant.worker, &tenant.token, vec![(tenant.job(), Tenant::EPOCH)]).await.unwrap();
    assert_eq!(again.session.receive(log).await.unwrap_err().to_string(), "a log message of more than 256 KiB");
}
