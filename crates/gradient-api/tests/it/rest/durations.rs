//! How long builds are expected to take, as they say while they wait.

use gradient_nix::{StorePath, nix_derivation::DerivationBuilder};
use gradient_protocol::Task;
use serde_json::{Value, json};

use super::{
    Client,
    worker::{Derivation, Worker, Workshop, tree},
};
use crate::server::Server;

gradient_test_support::both_databases!(what_a_package_took_is_expected_of_its_next_version);

/// Packages that need nothing, in this version.
fn packages(version: u32) -> [Derivation; 3] {
    ["ash", "elm", "oak"].map(|name| {
        let name = format!("{name}-{version}");
        let built = DerivationBuilder::new(&name, "x86_64-linux", "/bin/sh").input_addressed_output("out").build().unwrap();
        let output = built.resolved_outputs().remove("out").and_then(|output| output.path).unwrap();
        let name = |path: StorePath| &*path.to_string().leak();
        Derivation { path: name(built.drv_path().into()), aterm: built.to_aterm_bytes().leak(), output: name(output.into()) }
    })
}

/// Why the queued builds of an evaluation wait, the first of the queue at the beginning.
async fn waits(client: Client<'_>, evaluation: &str) -> Vec<Value> {
    let page = client.get(&format!("/evals/{evaluation}/builds?status=Queued")).await.message();
    let mut waits = Vec::new();
    for build in page["builds"].as_array().unwrap() {
        let why = client.get(&format!("/builds/{}/why", build["id"].as_str().unwrap())).await.message();
        assert_eq!(why["waiting_reason"]["kind"], "slots", "{why}");
        waits.push(why);
    }
    waits.sort_unstable_by_key(|why| why["waiting_reason"]["position"].as_u64());
    waits
}

fn eta(of: &Value) -> [u64; 3] {
    ["eta_min_secs", "eta_secs", "eta_max_secs"].map(|name| of[name].as_u64().unwrap())
}

async fn what_a_package_took_is_expected_of_its_next_version(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = workshop.evaluate().await;
    workshop.worker.evaluate_each(&packages(1)).await;
    let mut assignment = workshop.worker.next().await;
    let unknown = waits(workshop.alice(), &first).await;
    assert_eq!(unknown.iter().map(|why| &why["waiting_reason"]["eta_secs"]).collect::<Vec<_>>(), [&json!(null); 2]);
    for left in (0..3).rev() {
        let Task::Build(task) = &assignment.task else { panic!("{assignment:?}") };
        let path = task.derivation.to_string();
        let derivation = packages(1).into_iter().find(|derivation| derivation.path == path).unwrap();
        workshop.worker.finish(&assignment, derivation, &tree(&[("x", b"x")]), &[], 600_000).await;
        if left > 0 {
            assignment = workshop.worker.next().await;
        }
    }
    workshop.until(&first, "Completed").await;

    workshop.repository.commit();
    let second = workshop.evaluate().await;
    workshop.worker.evaluate_each(&packages(2)).await;
    workshop.worker.next().await;
    let known = waits(workshop.alice(), &second).await;
    let [next, last] = [&known[0], &known[1]].map(|why| eta(&why["waiting_reason"]));
    assert!(next[0] <= 300 && (590..=601).contains(&next[1]) && (1190..=1201).contains(&next[2]), "{next:?}");
    assert!((1190..=1201).contains(&last[1]), "{last:?}");
    assert!(known[0]["sentence"].as_str().unwrap().ends_with("it comes next; it begins in about 10 min."), "{known:?}");
    // All three on one slot.
    let whole = eta(&workshop.alice().get(&format!("/evals/{second}")).await.message());
    assert!(
        (890..=901).contains(&whole[0]) && (1790..=1801).contains(&whole[1]) && (3590..=3601).contains(&whole[2]),
        "{whole:?}"
    );

    // Another server on the same database has the one that ran as somebody's, and gives the next one to a new worker.
    workshop.server.engine.stop();
    workshop.server.engine.write_durations().await.unwrap();
    let server = Server::with_local_network(database).await;
    let alice = server.with(&workshop.token);
    let mut worker = Worker::connect(alice, "acme").await;
    worker.next().await;
    let known = waits(alice, &second).await;
    assert!((590..=601).contains(&eta(&known[0]["waiting_reason"])[1]), "{known:?}");
}
