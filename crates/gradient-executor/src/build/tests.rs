//! Builds with each Nix that is installed, in a store of the test's own, for a server in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kinds;
mod server;
mod upstream;

use std::{sync::Arc, time::Duration};

use gradient_domain::{BuildId, Epoch, Job};
use gradient_nix::NarHash;
use gradient_protocol::{BuiltOutput, InputPath, ToServer};
use gradient_test_support::nix::{Store, installations};

use futures_util::FutureExt as _;

use super::*;
use crate::{Nix, session::Outbox, transfer::Transfer};
use server::Server;

/// One worker with its store, and its server.
struct World {
    programs: std::path::PathBuf,
    store: Store,
    nix: Nix,
    daemons: Daemons,
    server: Server,
    outbox: Arc<Outbox>,
    transfer: Transfer,
    context: JobContext,
}

const KEY: (Job, Epoch) = (Job::Build(BuildId::from_uuid(uuid::Uuid::nil())), Epoch(1));

impl World {
    async fn new(programs: std::path::PathBuf) -> Self {
        Self::new_with(programs, "").await
    }

    /// With further lines of nix.conf.
    async fn new_with(programs: std::path::PathBuf, settings: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store = Store::new(settings).unwrap();
        let nix = Nix::discover(Some(programs.clone()), store.environment()).await.unwrap();
        let server = Server::start().await;
        let outbox = Arc::new(Outbox::default());
        outbox.open(KEY);
        let transfer = Transfer::new(&server.socket).unwrap();
        transfer.set_token("token");
        let context = JobContext::new(KEY.0, KEY.1, Arc::clone(&outbox), transfer.for_job(KEY.0, KEY.1));
        Self { programs, daemons: Daemons::new(&nix), store, nix, server, outbox, transfer, context }
    }

    /// A derivation that runs this script, as the server would send it; `more` are further attributes in the Nix language.
    async fn task(&self, name: &str, script: &str, more: &str) -> BuildTask {
        self.task_of(&format!(
            "derivation {{ name = \"{name}\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; PATH = \"/bin\";
               args = [ \"-e\" \"-c\" ''{script}'' ]; {more} }}"
        ))
        .await
    }

    /// The derivation of an expression in the Nix language.
    async fn task_of(&self, expression: &str) -> BuildTask {
        let limits = crate::process::Limits { time: Duration::from_mins(1), stdout_bytes: 1 << 20 };
        let printed = self.nix.run("nix-instantiate", ["--expr", expression], limits).await.unwrap();
        let derivation = StorePath::from_absolute(std::str::from_utf8(&printed).unwrap().trim()).unwrap();
        let aterm = std::fs::read(self.nix.real_path(&derivation)).unwrap();
        task(derivation, aterm)
    }

    async fn run(&self, task: BuildTask) -> Result<Report, Failure> {
        self.run_in(task, &Arc::new(Semaphore::new(1))).await
    }

    async fn run_in(&self, task: BuildTask, slots: &Arc<Semaphore>) -> Result<Report, Failure> {
        run(&self.daemons, &UploadBudget::default(), task, &self.context, slots).await
    }

    /// Until the job says this of itself.
    async fn says(&self, wanted: impl Fn(&Report) -> bool) {
        loop {
            while let Some(frame) = self.outbox.next_frame() {
                match gradient_protocol::decode(&frame).unwrap() {
                    ToServer::Report { report, .. } if wanted(&report) => return,
                    _ => {}
                }
            }
            self.outbox.changed().await;
        }
    }

    /// The server has everything that was said.
    fn acknowledge_all(&self) {
        self.outbox.rewind();
        while let Some(frame) = self.outbox.next_frame() {
            if let ToServer::Report { number, .. } = gradient_protocol::decode(&frame).unwrap() {
                self.outbox.acknowledge(number);
            }
        }
    }

    /// What the log of the job holds, as it would be sent.
    fn log(&self) -> String {
        let mut log = Vec::new();
        while let Some(frame) = self.outbox.next_frame() {
            if let ToServer::Log { bytes, .. } = gradient_protocol::decode(&frame).unwrap() {
                log.extend(bytes);
            }
        }
        String::from_utf8(log).unwrap()
    }
}

/// A derivation as the server would send it, without inputs.
fn task(derivation: StorePath, aterm: Vec<u8>) -> BuildTask {
    let limits =
        BuildLimits { timeout_secs: Some(60), max_silent_secs: None, max_log_bytes: 1000, max_output_bytes: Some(100_000) };
    BuildTask { derivation, aterm, inputs: Vec::new(), limits }
}

/// Runs a test with each Nix, in a world of its own, and gives up after two minutes.
async fn with_each_nix(test: impl AsyncFn(&World)) {
    with_each_nix_set_to("", test).await;
}

/// The same with further lines of nix.conf.
async fn with_each_nix_set_to(settings: &str, test: impl AsyncFn(&World)) {
    for nix in installations().unwrap() {
        println!("with {}", nix.bin.display());
        let world = World::new_with(nix.bin, settings).await;
        tokio::time::timeout(Duration::from_mins(2), test(&world)).await.unwrap();
    }
}

/// A path that only the server has: a file with this content.
fn input(world: &World, name: &str, content: &str) -> InputPath {
    let path: StorePath = format!("{}-{name}", "0".repeat(32)).parse().unwrap();
    InputPath { references: vec![path.clone()], ..file(world, path, content.as_bytes()) }
}

/// The same at this path, and without references.
fn file(world: &World, path: StorePath, content: &[u8]) -> InputPath {
    let mut nar = Vec::new();
    for word in [b"nix-archive-1", b"(".as_slice(), b"type", b"regular", b"contents", content, b")"] {
        nar.extend(u64::try_from(word.len()).unwrap().to_le_bytes());
        nar.extend(word);
        nar.resize(nar.len().next_multiple_of(8), 0);
    }
    let mut hash = gradient_nix::NixHasher::new(gradient_nix::HashAlgorithm::Sha256);
    hash.update(&nar);
    let nar_hash = NarHash(hash.finalize().digest_as_bytes().try_into().unwrap());
    let nar_size = u64::try_from(nar.len()).unwrap();
    world.server.has.lock().unwrap().insert(path.to_string(), nar);
    InputPath { references: Vec::new(), path, nar_hash, nar_size, deriver: None, content_address: None, upstream: None }
}

#[tokio::test]
async fn inputs_come_the_builder_runs_and_outputs_go() {
    with_each_nix(async |world| {
        let input = input(world, "input.txt", "from afar\n");
        let script = format!("echo one; cat {} > $out; echo $out > $dev; echo two >&2", input.path.to_absolute());
        let mut task = world.task("several", &script, "outputs = [ \"out\" \"dev\" ];").await;
        task.inputs = vec![input];
        let report = world.run(task.clone()).await.unwrap();
        let Report::Built { outputs, log_bytes, .. } = report else { panic!("{report:?}") };
        let [dev, out] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!((dev.name.as_str(), out.name.as_str()), ("dev", "out"));
        assert_eq!(dev.references, std::slice::from_ref(&out.path));
        let got = world.server.got.lock().unwrap().clone();
        let nar = &got[&out.path.to_string()];
        assert_eq!(u64::try_from(nar.len()).unwrap(), out.nar_size);
        assert!(String::from_utf8_lossy(nar).contains("from afar"));
        assert!(got.contains_key(&dev.path.to_string()));
        assert_eq!((world.log().as_str(), log_bytes), ("one\ntwo\n", 8));

        // Once more: everything is there, and goes up again.
        world.server.got.lock().unwrap().clear();
        let again = world.run(task).await.unwrap();
        assert!(matches!(again, Report::Built { outputs: again, .. } if again == outputs));
        assert_eq!(world.server.got.lock().unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn outputs_of_two_runs_are_never_mixed() {
    with_each_nix(async |world| {
        let script = "seq 1 3 > $out; cat /proc/sys/kernel/random/uuid > $dev; cat $dev > $out";
        let task = world.task("mixed", script, "outputs = [ \"out\" \"dev\" ];").await;
        world.run(task.clone()).await.unwrap();
        let derivation = parse(&task).unwrap();
        let out = derivation.outputs["out"].path().unwrap();
        world.daemons.drop_idle();
        while world.daemons.connect().await.unwrap().delete([out].into_iter()).await.is_err() {}
        world.run(task).await.unwrap();
        let read = |name: &str| std::fs::read(world.nix.real_path(derivation.outputs[name].path().unwrap())).unwrap();
        assert_eq!(read("out"), read("dev"));
    })
    .await;
}

#[tokio::test]
async fn failures_say_whose_fault_it_is() {
    with_each_nix(async |world| {
        let cases = [
            ("failing", "echo about to fail; exit 3", "", FailureKind::Permanent, "exit code 3"),
            ("loud", "seq 1 2000; echo > $out", "", FailureKind::LogLimit, "1000 bytes"),
            ("large", "seq 1 30000 > $out", "", FailureKind::OutputLimit, "100000"),
            ("unfit", "echo > $out", "requiredSystemFeatures = [ \"kvm\" ];", FailureKind::WorkerUnfit, "kvm"),
        ];
        for (name, script, more, kind, words) in cases {
            let failed = world.run(world.task(name, script, more).await).await.unwrap_err();
            assert_eq!(failed.kind, kind, "{name}: {failed:?}");
            assert!(failed.message.contains(words), "{name}: {failed:?}");
        }
        assert!(world.log().contains("about to fail\n"));
    })
    .await;
}

#[tokio::test]
async fn a_silent_builder_is_told_from_one_that_never_ends() {
    with_each_nix(async |world| {
        for (script, kind) in
            [("echo begun; sleep 100", FailureKind::Silent), ("while :; do echo; sleep 0.1; done", FailureKind::Timeout)]
        {
            let mut task = world.task("endless", script, "").await;
            task.limits.timeout_secs = Some(3);
            task.limits.max_silent_secs = Some(1);
            let failed = world.run(task).await.unwrap_err();
            assert_eq!(failed.kind, kind, "{failed:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_input_that_is_not_what_it_should_be_is_missing() {
    with_each_nix(async |world| {
        let task = async |input| {
            let mut task = world.task("needy", "echo > $out", "").await;
            task.inputs = vec![input];
            world.run(task).await.unwrap_err()
        };
        let mut lying = input(world, "lying.txt", "something\n");
        lying.nar_hash = NarHash([7; 32]);
        assert_eq!(task(lying).await.kind, FailureKind::InputsMissing);
        let mut cut = input(world, "cut.txt", "something\n");
        cut.nar_size += 8;
        assert_eq!(task(cut).await.kind, FailureKind::InputsMissing);
        let absent = input(world, "absent.txt", "something\n");
        world.server.has.lock().unwrap().clear();
        assert_eq!(task(absent).await.kind, FailureKind::InputsMissing);
    })
    .await;
}

#[tokio::test]
async fn what_is_built_frees_its_slot_and_waits_for_the_server() {
    with_each_nix(async |world| {
        let (task, slots) = (world.task("waiting", "echo done > $out", "").await, Arc::new(Semaphore::new(1)));
        world.transfer.clear_token();
        let built = world.run_in(task, &slots);
        tokio::pin!(built);
        tokio::select! {
            ended = &mut built => panic!("nothing can be uploaded without a session: {ended:?}"),
            () = world.says(|report| matches!(report, Report::Made { outputs } if outputs.len() == 1)) => {}
        }
        assert_eq!(slots.available_permits(), 1);
        assert!(world.server.got.lock().unwrap().is_empty());
        world.transfer.set_token("another");
        assert!(matches!(built.await.unwrap(), Report::Built { .. }));
        assert_eq!(world.server.got.lock().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_input_with_another_content_than_the_servers_is_replaced() {
    with_each_nix(async |world| {
        for content in ["what an earlier run made\n", "what everybody has\n"] {
            let input = input(world, "made-twice.txt", content);
            let mut task =
                world.task(&format!("copy-{}", content.len()), &format!("cat {} > $out", input.path.to_absolute()), "").await;
            task.inputs = vec![input];
            let report = world.run(task).await.unwrap();
            let Report::Built { outputs, .. } = report else { panic!("{report:?}") };
            assert_eq!(std::fs::read_to_string(world.nix.real_path(&outputs[0].path)).unwrap(), content);
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_built_with_an_output_ends_after_that_output() {
    with_each_nix(async |world| {
        let maker = (Job::Build(BuildId::new()), Epoch(1));
        world.outbox.open(maker);
        let input = input(world, "made-here.txt", "just made\n");
        world.outbox.made(maker, vec![input.path.clone()]);
        let mut task = world.task("dependent", &format!("cat {} > $out", input.path.to_absolute()), "").await;
        task.inputs = vec![input];
        let built = world.run(task);
        tokio::pin!(built);
        let uploaded = async {
            while world.server.got.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = &mut built => panic!("its input is not the server's yet: {ended:?}"),
            () = uploaded => {}
        }
        assert!(built.as_mut().now_or_never().is_none());
        world
            .outbox
            .report(maker, true, |number| {
                let report = Report::Built { outputs: Vec::new(), build_ms: 1, log_bytes: 0 };
                gradient_protocol::encode(&ToServer::Report { number, job: maker.0, epoch: maker.1, report })
                    .map(bytes::Bytes::from)
            })
            .await
            .unwrap();
        world.acknowledge_all();
        assert!(matches!(built.await.unwrap(), Report::Built { .. }));
    })
    .await;
}

#[tokio::test]
async fn dropping_a_build_ends_its_builder() {
    with_each_nix(async |world| {
        let task = world.task("slow", "echo begun; while :; do sleep 1; done", "").await;
        let begun = async {
            while !world.log().contains("begun") {
                world.outbox.changed().await;
            }
        };
        tokio::select! {
            ended = world.run(task.clone()) => panic!("{ended:?}"),
            () = begun => {}
        }
        // The builder held a lock on its output; the next one gets it.
        let mut again = task;
        again.limits.timeout_secs = Some(1);
        let ended = world.run(again).await.unwrap_err();
        assert_eq!(ended.kind, FailureKind::Timeout, "{ended:?}");
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_can_build_passes_the_check() {
    with_each_nix(async |world| {
        world.daemons.check().await.unwrap();
        // Nothing of it stays but the locks that Nix leaves.
        let kept = std::fs::read_dir(world.store.root().join("nix/store")).unwrap().flatten();
        let kept: Vec<_> = kept.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("check")).collect();
        assert!(kept.iter().all(|name| name.to_string_lossy().ends_with(".lock")), "{kept:?}");
    })
    .await;
}
