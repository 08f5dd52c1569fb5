//! What the server has already need not be sent again.

use gradient_domain::{BuildTimes, Epoch};
use gradient_nix::StorePath;
use gradient_protocol::{
    EntryPoint, Report,
    transfer::{self, Inputs, Known},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::worker::{Assignment, BASE, Derivation, TREE, Worker, Workshop, sha256, soon, tree};

gradient_test_support::both_databases!(
    what_is_known_is_not_sent_again,
    what_was_not_built_is_built_though_it_is_not_sent,
    only_who_evaluates_is_told_of_its_own_organization,
    what_is_imported_from_is_given_where_it_is_there,
);

/// Which of the derivations the server says that it has, by name.
async fn known(worker: &Worker, assignment: &Assignment, derivations: &[Derivation]) -> Vec<String> {
    let answer: Known = worker.known(assignment, derivations).await.error_for_status().unwrap().json().await.unwrap();
    answer.known.iter().map(|path| path.name().to_owned()).collect()
}

/// Says that the tree is an entry point, and nothing else.
async fn name_the_tree(worker: &mut Worker, assignment: &Assignment) {
    let outcome = Ok(TREE.path.parse().unwrap());
    let entry_point = EntryPoint { attribute: "packages.tree".to_owned(), outcome, times: BuildTimes::default() };
    let report = Report::Derivations { derivations: vec![], entry_points: vec![entry_point], messages: vec![] };
    worker.report(assignment, report).await;
    worker.report(assignment, Report::Evaluated {}).await;
}

async fn builds(workshop: &Workshop, evaluation: &str) -> Vec<(Value, Value)> {
    let page = workshop.alice().get(&format!("/evals/{evaluation}/builds")).await.message();
    let builds = page["builds"].as_array().unwrap();
    let mut builds: Vec<_> = builds.iter().map(|build| (build["name"].clone(), build["id"].clone())).collect();
    builds.sort_by_key(|(name, _)| name.to_string());
    builds
}

async fn what_is_known_is_not_sent_again(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = workshop.evaluate().await;
    let assignment = workshop.worker.fetch().await;
    assert!(known(&workshop.worker, &assignment, &[TREE, BASE]).await.is_empty());
    workshop.worker.evaluate_assigned(&assignment, &[BASE, TREE]).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&first, "Completed").await;

    workshop.repository.commit();
    let second = workshop.evaluate().await;
    let assignment = workshop.worker.fetch().await;
    assert_eq!(known(&workshop.worker, &assignment, &[TREE, BASE]).await, ["tree.drv", "base.drv"]);
    name_the_tree(&mut workshop.worker, &assignment).await;
    workshop.until(&second, "Completed").await;

    // What the tree needed is shown as if it had been sent, and counted.
    assert_eq!(builds(&workshop, &second).await, builds(&workshop, &first).await);
    let shown = workshop.alice().get(&format!("/evals/{second}")).await.message();
    assert_eq!(shown["builds"]["by_status"]["Completed"], json!(2), "{shown}");
}

async fn what_was_not_built_is_built_though_it_is_not_sent(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    let base = workshop.worker.next_build(BASE).await;
    workshop.alice().post(&format!("/evals/{first}"), json!({"method": "abort"})).await.message();
    workshop.until(&first, "Aborted").await;
    workshop.worker.fail_assigned(&base, gradient_domain::FailureKind::Aborted).await;

    workshop.repository.commit();
    let second = workshop.evaluate().await;
    let assignment = workshop.worker.fetch().await;
    name_the_tree(&mut workshop.worker, &assignment).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&second, "Completed").await;
}

async fn only_who_evaluates_is_told_of_its_own_organization(database: &str) {
    let mut workshop = Workshop::open(database).await;
    workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    let build = workshop.worker.next_build(BASE).await;
    let refused = workshop.worker.known(&build, &[BASE]).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT, "it builds, and does not evaluate");

    // Another organization evaluates the same, and has nothing of it.
    let alice = workshop.alice();
    alice.organization("other", false).await;
    workshop.repository.project(alice, "other").await;
    let mut stranger = Worker::connect(alice, "other").await;
    alice.post("/projects/other/web/evaluate", json!({})).await.message();
    let assignment = soon(stranger.fetch()).await;
    assert!(known(&stranger, &assignment, &[TREE, BASE]).await.is_empty());
    let late = Assignment { epoch: Epoch(assignment.epoch.0 + 1), ..assignment.clone() };
    assert_eq!(stranger.known(&late, &[TREE]).await.status(), StatusCode::CONFLICT);
}

async fn ask_for_outputs(worker: &Worker, assignment: &Assignment, derivations: &[Derivation]) -> reqwest::Response {
    let paths = derivations.iter().map(|derivation| derivation.output.parse().unwrap()).collect();
    let route = transfer::job_inputs(assignment.job, assignment.epoch);
    worker.request(reqwest::Method::POST, &route).json(&transfer::Paths { paths }).send().await.unwrap()
}

async fn what_is_imported_from_is_given_where_it_is_there(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    let nar = tree(&[("x", b"x")]);
    workshop.worker.build(BASE, &nar, &[]).await;
    let building = workshop.worker.next_build(TREE).await;
    let refused = ask_for_outputs(&workshop.worker, &building, &[BASE]).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT, "it builds, and does not evaluate");
    workshop.worker.fail_assigned(&building, gradient_domain::FailureKind::Permanent).await;
    workshop.until(&first, "Failed").await;

    workshop.repository.commit();
    workshop.evaluate().await;
    let assignment = workshop.worker.fetch().await;
    let answer = ask_for_outputs(&workshop.worker, &assignment, &[TREE, BASE]).await;
    let Inputs { inputs } = answer.error_for_status().unwrap().json().await.unwrap();
    let [base] = inputs.as_slice() else { panic!("{inputs:?}") };
    assert_eq!((base.path.to_string(), base.nar_hash, base.nar_size), (BASE.output.to_owned(), sha256(&nar), nar.len() as u64));
    let path: StorePath = BASE.output.parse().unwrap();
    assert!(workshop.worker.download(&assignment, &path).await == nar);
}
