//! Builds whose outputs' paths follow from their content: what a worker is given, and what it is believed.

use std::collections::BTreeSet;

use gradient_cache_protocol::content_address;
use gradient_domain::{BuildStatus, BuildTimes, Epoch, FailureKind, Job, Moment, OrganizationId, WorkerId};
use gradient_engine::{Engine, EngineSettings, Opened, SourceDeclaration, UploadError};
use gradient_nix::{CAHash, HashAlgorithm, NarHash, NixHash, NixHasher, StorePath};
use gradient_protocol::{BuildTask, BuiltOutput, Capabilities, DerivationFile, EntryPoint, Report, Task, ToServer, ToWorker};
use gradient_storage::{Conn, attempts, derivations, paths, realisations};

use crate::{
    reaper::later,
    tenants::{next, until},
    world::{Tenant, World, capabilities, connect, store_path},
};

gradient_test_support::both_databases!(
    what_needs_them_is_resolved_as_nix_resolves_it,
    only_what_is_declared_and_reported_is_kept,
    what_is_neither_input_nor_output_is_not_referred_to,
    realisations_that_no_derivation_has_go,
);

macro_rules! vector {
    ($path:literal) => {
        include_bytes!(concat!("../../../gradient-nix/tests/vectors/resolution/2.8/", $path)).as_slice()
    };
}

const TWIN: (&str, &[u8]) =
    ("sp8g3qc1jqvnp40jpkpdaab5w8298x85-twin.drv", vector!("drv/sp8g3qc1jqvnp40jpkpdaab5w8298x85-twin.drv"));
const OTHER_TWIN: (&str, &[u8]) =
    ("mqfhqx2bnh8f2vk2cqla535sbvi5b4vg-twin.drv", vector!("drv/mqfhqx2bnh8f2vk2cqla535sbvi5b4vg-twin.drv"));
/// Needs both.
const SAME: (&str, &[u8]) =
    ("3yly8smwan7xz5hrxpz1zrh18zx44nr4-same.drv", vector!("drv/3yly8smwan7xz5hrxpz1zrh18zx44nr4-same.drv"));
const SAME_RESOLVED: &[u8] = vector!("resolved/qz7jl6c7838cijbfpckh4nrg1pai73hq-same.drv");

/// What the builders of both make, and where it goes.
const CONTENT: &str = "twin of the vectors\n";
const TWIN_PATH: &str = "8msgk7l6xgbqwqkac13p7w4m5xf8s475-twin";

/// A worker that can build such derivations.
struct Builder {
    engine: Engine,
    organization: OrganizationId,
    opened: Opened,
    reports: u64,
}

/// A file that is an output.
struct Made {
    path: StorePath,
    address: CAHash,
    nar: Vec<u8>,
    references: Vec<StorePath>,
}

impl Made {
    fn of(name: &str, content: &str, references: &[&StorePath]) -> Self {
        let mut nar = Vec::new();
        for word in ["nix-archive-1", "(", "type", "regular", "contents", content, ")"] {
            nar.extend(u64::try_from(word.len()).unwrap().to_le_bytes());
            nar.extend(word.bytes());
            nar.resize(nar.len().next_multiple_of(8), 0);
        }
        let address = CAHash::Nar(sha256(&nar));
        let references: BTreeSet<StorePath> = references.iter().map(|path| (*path).clone()).collect();
        let path = content_address::store_path(name, &address, &references).unwrap();
        Self { path, address, nar, references: references.into_iter().collect() }
    }

    fn declaration(&self) -> SourceDeclaration {
        SourceDeclaration { content_address: self.address.to_nix_string(), references: self.references.clone() }
    }

    fn output(&self) -> BuiltOutput {
        let NixHash::Sha256(hash) = sha256(&self.nar) else { unreachable!() };
        BuiltOutput {
            name: "out".to_owned(),
            path: self.path.clone(),
            nar_hash: NarHash(hash),
            nar_size: self.nar.len().try_into().unwrap(),
            references: self.references.clone(),
        }
    }
}

fn sha256(bytes: &[u8]) -> NixHash {
    let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
    hasher.update(bytes);
    hasher.finalize()
}

impl Builder {
    /// An organization whose evaluation has found these derivations, the last of which is its entry point.
    async fn start(world: &World, found: &[(&str, &[u8])]) -> Self {
        let (organization, _) = world.register("tenant", WorkerId::random(), Moment::now()).await;
        let (evaluation, worker, token) = world.evaluating(organization).await;
        let engine = world.start(EngineSettings::default()).await;
        let job = Job::Evaluate(evaluation);
        let opened = connect(&engine, worker, &token, vec![(job, Tenant::EPOCH)]).await.unwrap();
        let mut builder = Self { engine, organization, opened, reports: 0 };
        let able = Capabilities { features: vec!["ca-derivations".to_owned()], ..capabilities(1) };
        builder.opened.session.receive(ToServer::Capabilities(able)).await.unwrap();
        let files = found.iter().map(|(path, aterm)| DerivationFile { path: path.parse().unwrap(), aterm: aterm.to_vec() });
        let (attribute, times) = ("package".to_owned(), BuildTimes::default());
        let outcome = Ok(found.last().unwrap().0.parse().unwrap());
        let entry_points = vec![EntryPoint { attribute, outcome, times }];
        let report = Report::Derivations { derivations: files.collect(), entry_points, messages: vec![] };
        builder.report(job, Tenant::EPOCH, report).await;
        builder.report(job, Tenant::EPOCH, Report::Evaluated {}).await;
        builder
    }

    async fn report(&mut self, job: Job, epoch: Epoch, report: Report) {
        self.reports += 1;
        let said = ToServer::Report { number: self.reports, job, epoch, report };
        self.opened.session.receive(said).await.unwrap();
    }

    async fn assigned(&mut self) -> (Job, Epoch, BuildTask) {
        next(&mut self.opened.outbox, |message| match message {
            ToWorker::Assign { job, epoch, task, .. } => match &**task {
                Task::Build(task) => Some((*job, *epoch, task.clone())),
                task => panic!("{task:?}"),
            },
            _ => None,
        })
        .await
    }

    async fn upload(
        &self,
        (job, epoch): (Job, Epoch),
        made: &Made,
        declared: Option<SourceDeclaration>,
    ) -> Result<(), UploadError> {
        let token = &self.opened.welcome.session_token;
        let mut upload = self.engine.begin_upload(token, job, epoch, made.path.clone(), declared).await?;
        upload.write(zstd::encode_all(made.nar.as_slice(), 1).unwrap().into()).await?;
        upload.finish().await
    }

    async fn built(&mut self, (job, epoch): (Job, Epoch), made: &Made) {
        self.report(job, epoch, Report::Built { outputs: vec![made.output()], build_ms: 1, log_bytes: 0 }).await;
    }

    async fn has(&self, world: &World, path: &StorePath) -> bool {
        let (organization, path) = (self.organization, path.clone());
        let find = async move |conn: &mut Conn| paths::find_many(conn, organization, &[path]).await;
        !world.storage.read(find).await.unwrap().is_empty()
    }
}

async fn what_needs_them_is_resolved_as_nix_resolves_it(url: &str) {
    let world = World::new(url).await;
    let mut builder = Builder::start(&world, &[TWIN, OTHER_TWIN, SAME]).await;
    let twin = Made::of("twin", CONTENT, &[]);
    assert_eq!(twin.path.to_string(), TWIN_PATH, "what is made here is what Nix made");
    for _ in 0..2 {
        let (job, epoch, task) = builder.assigned().await;
        assert!([TWIN.0, OTHER_TWIN.0].contains(&task.derivation.to_string().as_str()), "{}", task.derivation);
        builder.upload((job, epoch), &twin, Some(twin.declaration())).await.unwrap();
        builder.built((job, epoch), &twin).await;
    }

    let (job, epoch, task) = builder.assigned().await;
    assert_eq!(String::from_utf8(task.aterm).unwrap(), String::from_utf8(SAME_RESOLVED.to_vec()).unwrap());
    let [input] = &task.inputs[..] else { panic!("{:?}", task.inputs) };
    assert_eq!((&input.path, input.content_address.as_ref()), (&twin.path, Some(&twin.address.to_nix_string())));
    let place = twin.path.to_absolute();
    let same = Made::of("same", &format!("{place} {place}\n"), &[&twin.path]);
    builder.upload((job, epoch), &same, Some(same.declaration())).await.unwrap();
    builder.built((job, epoch), &same).await;
    let Job::Build(build) = job else { panic!("{job}") };
    until(async || world.build_status(build).await == BuildStatus::Completed).await;

    let (organization, asked) = (builder.organization, [twin.path.clone(), same.path.clone()]);
    let known = async move |conn: &mut Conn| {
        let of: Vec<StorePath> = [TWIN.0, SAME.0].map(|path| path.parse().unwrap()).into();
        Ok((derivations::output_paths(conn, organization, &of).await?, realisations::of_paths(conn, organization, &asked).await?))
    };
    let (outputs, realised) = world.storage.read(known).await.unwrap();
    assert_eq!(outputs[&TWIN.0.parse().unwrap()].paths["out"], twin.path);
    assert_eq!(outputs[&SAME.0.parse().unwrap()].paths["out"], same.path);
    let names: BTreeSet<(String, StorePath)> = realised.into_iter().map(|found| (found.name, found.path)).collect();
    // As Nix names them; two derivations turned out to be the same.
    let expected = [
        ("realisations/sha256:6ba079b05d5f0add84ab50a6aa67b588eec50947386c49d296bb216abfe96b33!out.doi", &twin.path),
        ("realisations/sha256:e79cd3b957bab60732eb36bb36ec804716ad1e5d3991570485ab4135f860f58b!out.doi", &twin.path),
        ("realisations/sha256:bc3ffac68337011e0db94787331d98aef3341e72fef1ddbc7fc031033c578207!out.doi", &same.path),
        ("build-trace-v2/sp8g3qc1jqvnp40jpkpdaab5w8298x85-twin.drv/out.doi", &twin.path),
        ("build-trace-v2/mqfhqx2bnh8f2vk2cqla535sbvi5b4vg-twin.drv/out.doi", &twin.path),
        ("build-trace-v2/qz7jl6c7838cijbfpckh4nrg1pai73hq-same.drv/out.doi", &same.path),
    ];
    assert_eq!(names, expected.map(|(name, path)| (name.to_owned(), path.clone())).into());
}

async fn only_what_is_declared_and_reported_is_kept(url: &str) {
    let world = World::new(url).await;
    let mut builder = Builder::start(&world, &[TWIN]).await;
    let (job, epoch, _) = builder.assigned().await;
    let (twin, another) = (Made::of("twin", CONTENT, &[]), Made::of("twin", "another\n", &[]));
    let upload = async |made: &Made, declared| builder.upload((job, epoch), made, declared).await;

    let refused = upload(&twin, None).await;
    assert!(matches!(refused, Err(UploadError::Undeclared(_))), "{refused:?}");
    let evil = Made::of("evil", CONTENT, &[]);
    let refused = upload(&evil, Some(evil.declaration())).await;
    assert!(matches!(refused, Err(UploadError::NotAnOutput { .. })), "of another name: {refused:?}");
    let flat = CAHash::Flat(sha256(CONTENT.as_bytes()));
    let path = content_address::store_path("twin", &flat, &BTreeSet::new()).unwrap();
    let flat = Made { path, address: flat, ..Made::of("twin", CONTENT, &[]) };
    let refused = upload(&flat, Some(flat.declaration())).await;
    assert!(matches!(refused, Err(UploadError::NotAnOutput { .. })), "addressed in another way: {refused:?}");
    let refused = upload(&Made { nar: another.nar.clone(), ..Made::of("twin", CONTENT, &[]) }, Some(twin.declaration())).await;
    assert!(matches!(refused, Err(UploadError::Refused(_))), "with another content: {refused:?}");
    let refused = upload(&Made { path: store_path(7, "twin"), ..Made::of("twin", CONTENT, &[]) }, Some(twin.declaration())).await;
    assert!(matches!(refused, Err(UploadError::Refused(_))), "at another path: {refused:?}");

    // Both could be the output; the one that is reported is.
    upload(&twin, Some(twin.declaration())).await.unwrap();
    upload(&another, Some(another.declaration())).await.unwrap();
    builder.built((job, epoch), &another).await;
    let Job::Build(build) = job else { panic!("{job}") };
    until(async || world.build_status(build).await == BuildStatus::Completed).await;
    assert!(builder.has(&world, &another.path).await);
    assert!(!builder.has(&world, &twin.path).await);
}

async fn what_is_neither_input_nor_output_is_not_referred_to(url: &str) {
    let world = World::new(url).await;
    let mut builder = Builder::start(&world, &[TWIN]).await;
    let (job, epoch, _) = builder.assigned().await;
    let secret = store_path(1, "secret");
    let twin = Made::of("twin", &format!("see {}\n", secret.to_absolute()), &[&secret]);
    builder.upload((job, epoch), &twin, Some(twin.declaration())).await.unwrap();
    builder.built((job, epoch), &twin).await;
    let Job::Build(build) = job else { panic!("{job}") };
    let attempt = async || {
        let tried = world.storage.read(async move |conn: &mut Conn| attempts::list(conn, build).await).await.unwrap();
        tried.into_iter().find(|attempt| attempt.failure_kind.is_some())
    };
    until(async || attempt().await.is_some()).await;
    let attempt = attempt().await.unwrap();
    let message = attempt.failure_message.unwrap_or_default();
    assert_eq!(attempt.failure_kind, Some(FailureKind::WorkerUnfit), "{message}");
    assert!(message.contains("neither an input nor an output"), "{message}");
    assert!(!builder.has(&world, &twin.path).await);
}

async fn realisations_that_no_derivation_has_go(url: &str) {
    let (world, now) = (World::new(url).await, Moment::now());
    let (organization, _) = world.register("tenant", WorkerId::random(), now).await;
    let asked = [store_path(1, "twin")];
    let realised = vec![realisations::Realisation { name: "a".to_owned(), path: asked[0].clone() }];
    let set = async move |conn: &mut Conn| realisations::set_many(conn, organization, realised, now).await;
    world.storage.transaction(set).await.unwrap();
    let left = async || {
        let asked = asked.clone();
        let find = async move |conn: &mut Conn| realisations::of_paths(conn, organization, &asked).await;
        world.storage.read(find).await.unwrap().len()
    };
    let engine = world.start(EngineSettings::default()).await;
    engine.reap(later(now, 2)).await.unwrap();
    assert_eq!(left().await, 1, "what has it may be about to come");
    engine.reap(later(now, 8)).await.unwrap();
    assert_eq!(left().await, 0);
}
