//! What a worker says and sends that is not so.

use gradient_domain::{BuildStatus, BuildTimes, EvaluationStatus, FailureKind, Job, Moment, WorkerId};
use gradient_engine::{EngineSettings, UploadError};
use gradient_nix::{NarHash, StorePath};
use gradient_protocol::{BuiltOutput, DerivationFile, EntryPoint, Report, ToServer};
use gradient_storage::{
    Conn, attempts, derivations, evaluations,
    nars::{self, NewNar},
    paths::{self, NewStagedOutput},
};

use crate::{
    tenants::until,
    world::{Tenant, World, connect, store_path},
};

gradient_test_support::both_databases!(
    outputs_that_are_not_the_derivations_are_refused,
    nobody_uploads_what_another_organizations_build_makes,
    a_forged_derivation_ends_its_evaluation_and_is_not_kept,
);

const BASE: &str = "j3m6sbf8qaqiy1648nxfixmc875kqhhz-base.drv";
const BASE_ATERM: &[u8] = include_bytes!("../../../gradient-nix/tests/vectors/drv/j3m6sbf8qaqiy1648nxfixmc875kqhhz-base.drv");
const TOP: &str = "2pj034zff63facyrvnffhrn89bimay18-top.drv";
const TOP_ATERM: &[u8] = include_bytes!("../../../gradient-nix/tests/vectors/drv/2pj034zff63facyrvnffhrn89bimay18-top.drv");

fn output(path: StorePath, hash: u8, references: Vec<StorePath>) -> BuiltOutput {
    BuiltOutput { name: "out".to_owned(), path, nar_hash: NarHash([hash; 32]), nar_size: 120, references }
}

/// The tenant's output is staged as if it had been uploaded and found good.
async fn stage(world: &World, tenant: &Tenant, hash: u8) {
    let (build, nar_hash, now) = (tenant.build, NarHash([hash; 32]), Moment::now());
    let stage = async move |conn: &mut Conn| {
        nars::claim(conn, NewNar { nar_hash, nar_size: 120, file_hash: nar_hash, file_size: 6, created_at: now }).await?;
        let staged = NewStagedOutput {
            build,
            epoch: Tenant::EPOCH,
            path: store_path(2, "package"),
            nar_hash,
            references: vec![],
            content_address: None,
            build_products: vec![],
        };
        paths::stage(conn, staged, now).await
    };
    world.storage.transaction(stage).await.unwrap();
}

async fn outputs_that_are_not_the_derivations_are_refused(url: &str) {
    let own = || store_path(2, "package");
    let cases = [
        ("no output", vec![], "but the derivation has out="),
        ("another path", vec![output(store_path(9, "package"), 3, vec![])], "but the derivation has out="),
        ("one too many", vec![output(own(), 3, vec![]), output(own(), 3, vec![])], "but the derivation has out="),
        ("another content", vec![output(own(), 4, vec![])], "was reported with NarHash"),
        ("other references", vec![output(own(), 3, vec![store_path(1, "secret")])], "was reported with references"),
    ];
    let world = World::new(url).await;
    for (number, (case, outputs, sentence)) in cases.into_iter().enumerate() {
        let tenant = world.tenant(&format!("tenant-{number}")).await;
        stage(&world, &tenant, 3).await;
        refuses(&world, &tenant, case, outputs, sentence).await;
    }
    let tenant = world.tenant("without-upload").await;
    refuses(&world, &tenant, "no upload", vec![output(own(), 3, vec![])], "was not uploaded").await;
}

/// The attempt counts against the worker, and nothing of it is published.
async fn refuses(world: &World, tenant: &Tenant, case: &str, outputs: Vec<BuiltOutput>, sentence: &str) {
    let engine = world.start(EngineSettings::default()).await;
    let mut opened = connect(&engine, tenant.worker, &tenant.token, vec![(tenant.job(), Tenant::EPOCH)]).await.unwrap();
    let report = Report::Built { outputs, build_ms: 1, log_bytes: 0 };
    let said = ToServer::Report { number: 1, job: tenant.job(), epoch: Tenant::EPOCH, report };
    opened.session.receive(said).await.unwrap();
    until(async || world.build_status(tenant.build).await == BuildStatus::Queued).await;
    let build = tenant.build;
    let tried = world.storage.read(async move |conn: &mut Conn| attempts::list(conn, build).await).await.unwrap();
    let [attempt] = &tried[..] else { panic!("{case}: {tried:?}") };
    assert_eq!(attempt.failure_kind, Some(FailureKind::WorkerUnfit), "{case}");
    let message = attempt.failure_message.clone().unwrap_or_default();
    assert!(message.contains(sentence), "{case}: {message}");
    assert!(!has(world, tenant, store_path(2, "package")).await, "{case}");
    opened.session.close().await;
}

async fn has(world: &World, tenant: &Tenant, path: StorePath) -> bool {
    let organization = tenant.organization;
    let found = async move |conn: &mut Conn| paths::find_many(conn, organization, &[path]).await;
    !world.storage.read(found).await.unwrap().is_empty()
}

async fn nobody_uploads_what_another_organizations_build_makes(url: &str) {
    let world = World::new(url).await;
    let (victim, attacker) = (world.tenant("victim").await, world.tenant("attacker").await);
    // The same package, made by the attacker's own worker with another content.
    stage(&world, &attacker, 66).await;
    let engine = world.start(EngineSettings::default()).await;
    let mut opened = connect(&engine, attacker.worker, &attacker.token, vec![(attacker.job(), Tenant::EPOCH)]).await.unwrap();
    let token = opened.welcome.session_token.clone();
    let begin = async |job, path| engine.begin_upload(&token, job, Tenant::EPOCH, path, None).await.map(drop).unwrap_err();

    let refused = begin(victim.job(), store_path(2, "package")).await;
    assert!(matches!(refused, UploadError::NotOwner { .. }), "{refused}");
    let refused = begin(attacker.job(), store_path(7, "package")).await;
    assert!(matches!(refused, UploadError::NotAnOutput { .. }), "{refused}");

    let report = Report::Built { outputs: vec![output(store_path(2, "package"), 66, vec![])], build_ms: 1, log_bytes: 0 };
    let said = |number, job, report| ToServer::Report { number, job, epoch: Tenant::EPOCH, report };
    opened.session.receive(said(1, victim.job(), report.clone())).await.unwrap();
    opened.session.receive(said(2, attacker.job(), report)).await.unwrap();
    assert_eq!(world.build_status(attacker.build).await, BuildStatus::Completed);
    assert!(has(&world, &attacker, store_path(2, "package")).await);
    // It is the attacker's own affair: what the victim needs is still to be built by the victim's own worker.
    assert_eq!(world.build_status(victim.build).await, BuildStatus::Building);
    assert!(!has(&world, &victim, store_path(2, "package")).await);
}

async fn a_forged_derivation_ends_its_evaluation_and_is_not_kept(url: &str) {
    let (base, top): (StorePath, StorePath) = (BASE.parse().unwrap(), TOP.parse().unwrap());
    let text = std::str::from_utf8(BASE_ATERM).unwrap();
    let other_script = text.replace("echo base", "echo evil").into_bytes();
    let other_output = text.replace("nvwa44pgdakc6hh2wq9mfyj4124gr5g6", &"0".repeat(32)).into_bytes();
    let cases = [
        ("another builder under the same name", base.clone(), other_script, base.clone(), "by its content"),
        ("the output of something else", base.clone(), other_output, base.clone(), "by its content"),
        ("no derivation", base.clone(), b"Derive(".to_vec(), base.clone(), "is not a derivation"),
        ("an input that nobody sent", top.clone(), TOP_ATERM.to_vec(), top, "which is not known"),
        ("an entry point that nobody sent", base, BASE_ATERM.to_vec(), store_path(3, "package.drv"), "which was not sent"),
    ];
    let world = World::new(url).await;
    for (number, (case, path, aterm, named, sentence)) in cases.into_iter().enumerate() {
        // Another organization has the derivation that the last case names.
        world.tenant(&format!("other-{number}")).await;
        let worker = WorkerId::random();
        let (organization, _) = world.register(&format!("tenant-{number}"), worker, Moment::now()).await;
        let (evaluation, worker, token) = world.evaluating(organization).await;
        let engine = world.start(EngineSettings::default()).await;
        let job = Job::Evaluate(evaluation);
        let mut opened = connect(&engine, worker, &token, vec![(job, Tenant::EPOCH)]).await.unwrap();
        let derivations = vec![DerivationFile { path: path.clone(), aterm }];
        let entry_points = vec![EntryPoint { attribute: "base".to_owned(), outcome: Ok(named), times: BuildTimes::default() }];
        let report = Report::Derivations { derivations, entry_points, messages: vec![] };
        opened.session.receive(ToServer::Report { number: 1, job, epoch: Tenant::EPOCH, report }).await.unwrap();

        let find =
            async || world.storage.read(async move |conn: &mut Conn| evaluations::find(conn, evaluation).await).await.unwrap();
        until(async || find().await.status == EvaluationStatus::Failed).await;
        let error = find().await.error.unwrap_or_default();
        assert!(error.contains(sentence), "{case}: {error}");
        let asked = vec![path];
        let known = async move |conn: &mut Conn| derivations::known(conn, organization, &asked).await;
        assert!(world.storage.read(known).await.unwrap().is_empty(), "{case}: nothing of it is kept");
        opened.session.close().await;
    }
}
