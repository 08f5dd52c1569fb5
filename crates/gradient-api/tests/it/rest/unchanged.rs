//! Evaluations of a commit that was evaluated before: what is known is not found out again.

use gradient_domain::{BuildTimes, Failure, FailureKind, JobKind};
use gradient_engine::EngineSettings;
use gradient_protocol::{EntryPoint, Report};
use serde_json::{Value, json};

use super::worker::{BASE, TREE, Workshop, tree};
use crate::server::Server;

gradient_test_support::both_databases!(
    an_unchanged_commit_is_not_evaluated_again,
    builds_of_the_one_before_go_on,
    builds_of_one_that_is_replaced_go_on,
    what_was_stopped_is_built_without_evaluating,
    what_can_come_to_another_end_is_evaluated,
    a_dependent_in_another_part_is_built_again,
);

async fn show(workshop: &Workshop, evaluation: &str) -> Value {
    workshop.alice().get(&format!("/evals/{evaluation}")).await.message()
}

/// The ids of an evaluation's builds.
async fn builds(workshop: &Workshop, evaluation: &str) -> Vec<Value> {
    let page = workshop.alice().get(&format!("/evals/{evaluation}/builds")).await.message();
    page["builds"].as_array().unwrap().iter().map(|build| build["id"].clone()).collect()
}

async fn an_unchanged_commit_is_not_evaluated_again(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    let build = workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&first, "Completed").await;

    // Nobody is there who could fetch or evaluate.
    workshop.worker.leave().await;
    let Workshop { server, token, repository, .. } = workshop;
    let alice = server.with(&token);
    let second = alice.post("/projects/acme/web/evaluate", json!({})).await.message();
    let second = second.as_str().unwrap();
    let [before, after] = [first.as_str(), second].map(|id| format!("/evals/{id}"));
    let (before, after) = (alice.get(&before).await.message(), alice.get(&after).await.message());
    assert_eq!(after["status"], json!("Completed"), "it is known at once");
    assert_eq!((&after["commit"], &after["builds"]), (&before["commit"], &before["builds"]));
    assert_eq!(after["previous"], json!(first));
    let entry_points = alice.get(&format!("/projects/acme/web/entry-points?evaluation_id={second}")).await.message();
    assert_eq!((&entry_points[0]["build_id"], &entry_points[0]["eval"]), (&json!(build), &json!("packages.tree")));

    // Another commit, or other attributes, may be something else.
    alice.patch("/projects/acme/web", json!({"wildcard": "checks.*"})).await.message();
    let other = alice.post("/projects/acme/web/evaluate", json!({})).await.message();
    let status = |id: &Value| format!("/evals/{}", id.as_str().unwrap());
    assert_ne!(alice.get(&status(&other)).await.message()["status"], json!("Completed"));
    alice.patch("/projects/acme/web", json!({"wildcard": "packages.*"})).await.message();
    repository.commit();
    let newer = alice.post("/projects/acme/web/evaluate", json!({})).await.message();
    assert_ne!(alice.get(&status(&newer)).await.message()["status"], json!("Completed"));
}

async fn builds_of_the_one_before_go_on(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    let base = workshop.worker.next_build(BASE).await;

    let second = workshop.evaluate().await;
    workshop.until(&second, "Building").await;
    assert_eq!(builds(&workshop, &second).await, builds(&workshop, &first).await);
    workshop.worker.finish(&base, BASE, &tree(&[("x", b"x")]), &[], 5).await;
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    for evaluation in [first, second] {
        workshop.until(&evaluation, "Completed").await;
    }
}

async fn builds_of_one_that_is_replaced_go_on(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let changed = json!({"concurrency": "hard_abort"});
    workshop.alice().patch("/projects/acme/web", changed).await.message();
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    let base = workshop.worker.next_build(BASE).await;

    let second = workshop.evaluate().await;
    workshop.until(&first, "Aborted").await;
    workshop.worker.finish(&base, BASE, &tree(&[("x", b"x")]), &[], 5).await;
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&second, "Completed").await;
    assert_eq!(builds(&workshop, &second).await, builds(&workshop, &first).await);
}

async fn what_was_stopped_is_built_without_evaluating(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    let base = workshop.worker.next_build(BASE).await;
    workshop.alice().post(&format!("/evals/{first}"), json!({"method": "abort"})).await.message();
    workshop.until(&first, "Aborted").await;
    let failure = Failure { kind: FailureKind::Aborted, message: "stopped".to_owned() };
    workshop.worker.report(&base, Report::Failed { failure, log_bytes: 0 }).await;

    let second = workshop.evaluate().await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&second, "Completed").await;
    assert_eq!(show(&workshop, &first).await["status"], json!("Aborted"));
}

async fn what_can_come_to_another_end_is_evaluated(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = workshop.evaluate().await;
    let assignment = workshop.worker.fetch().await;
    let entry_points = vec![EntryPoint {
        attribute: "packages.tree".to_owned(),
        outcome: Err("out of memory".to_owned()),
        times: BuildTimes::default(),
    }];
    let report = Report::Derivations { derivations: vec![], entry_points, messages: vec![] };
    workshop.worker.report(&assignment, report).await;
    workshop.worker.report(&assignment, Report::Evaluated {}).await;
    workshop.until(&first, "Failed").await;

    let second = workshop.evaluate().await;
    assert_eq!(workshop.worker.next().await.job.kind(), JobKind::Fetch);
    assert_ne!(first, second);
}

async fn a_dependent_in_another_part_is_built_again(database: &str) {
    let settings = EngineSettings { allow_local_repositories: true, build_max_attempts: 1, ..EngineSettings::default() };
    let mut workshop = Workshop::of(Server::with_engine(database, settings).await).await;
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.worker.fail(BASE, FailureKind::Transient).await;
    workshop.until(&first, "Failed").await;

    workshop.repository.commit();
    let second = workshop.evaluate().await;
    let assignment = workshop.worker.fetch().await;
    let part = Report::Derivations { derivations: vec![BASE.file()], entry_points: vec![], messages: vec![] };
    workshop.worker.report(&assignment, part).await;
    workshop.worker.evaluate_assigned(&assignment, &[TREE]).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&second, "Completed").await;
}
