//! `mode: "restart_failed"`: failed builds are built again, without evaluating again.

use gradient_domain::FailureKind;
use gradient_protocol::Report;
use serde_json::{Value, json};

use super::{
    Answer,
    worker::{BASE, TREE, Workshop, tree},
};

gradient_test_support::both_databases!(
    what_failed_is_built_again,
    what_was_aborted_is_built_again,
    a_commit_may_be_named,
    what_cannot_be_restarted_is_said,
    a_permanent_failure_is_kept_until_a_restart,
);

const RESTART: &str = "restart_failed";

async fn restart(workshop: &Workshop) -> Answer {
    workshop.alice().post("/projects/acme/web/evaluate", json!({"mode": RESTART})).await
}

fn id(message: &Value) -> String {
    message.as_str().unwrap().to_owned()
}

/// The builds of an evaluation as (name, status).
async fn builds(workshop: &Workshop, evaluation: &str) -> Vec<(String, String)> {
    let page = workshop.alice().get(&format!("/evals/{evaluation}/builds")).await.message();
    let line = |build: &Value| (id(&build["name"]), id(&build["status"]));
    page["builds"].as_array().unwrap().iter().map(line).collect()
}

fn lines(expected: [(&str, &str); 2]) -> Vec<(String, String)> {
    expected.map(|(name, status)| (name.to_owned(), status.to_owned())).to_vec()
}

/// An evaluation in which the base failed for good; its id.
async fn failed(workshop: &mut Workshop) -> String {
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.worker.fail(BASE, FailureKind::Permanent).await;
    workshop.until(&evaluation, "Failed").await;
    evaluation
}

async fn what_failed_is_built_again(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = failed(&mut workshop).await;
    let before = workshop.alice().get(&format!("/evals/{first}")).await.message();

    let second = id(&restart(&workshop).await.message());
    // No fetch and no evaluation: the next job is the build.
    let base = workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    let build = workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&second, "Completed").await;
    assert_eq!(builds(&workshop, &second).await, lines([("base", "Completed"), ("tree", "Completed")]));
    let shown = workshop.alice().get(&format!("/evals/{second}")).await.message();
    assert_eq!((&shown["commit"], &shown["previous"]), (&before["commit"], &json!(first)));
    let shown = workshop.alice().get(&format!("/builds/{base}")).await.message();
    assert_eq!((&shown["evaluation"], &shown["attempts"].as_array().unwrap().len()), (&json!(second), &1));
    let entry_points = workshop.alice().get("/projects/acme/web/entry-points").await.message();
    assert_eq!((&entry_points[0]["build_id"], &entry_points[0]["eval"]), (&json!(build), &json!("packages.tree")));

    // What was stays what it was.
    let after = workshop.alice().get(&format!("/evals/{first}")).await.message();
    assert_eq!((&after["status"], &after["builds"]), (&before["status"], &before["builds"]));
    assert_eq!(builds(&workshop, &first).await, lines([("base", "Failed"), ("tree", "DependencyFailed")]));
}

async fn what_was_aborted_is_built_again(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    let assignment = workshop.worker.next_build(TREE).await;
    workshop.alice().post(&format!("/evals/{first}"), json!({"method": "abort"})).await.message();
    workshop.until(&first, "Aborted").await;
    let failure = gradient_domain::Failure { kind: FailureKind::Aborted, message: "stopped".to_owned() };
    workshop.worker.report(&assignment, Report::Failed { failure, log_bytes: 0 }).await;

    let second = id(&restart(&workshop).await.message());
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&second, "Completed").await;
    assert_eq!(builds(&workshop, &second).await, lines([("base", "Completed"), ("tree", "Completed")]));
    assert_eq!(builds(&workshop, &first).await, lines([("base", "Completed"), ("tree", "Aborted")]));
}

async fn a_commit_may_be_named(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = failed(&mut workshop).await;
    let commit = id(&workshop.alice().get(&format!("/evals/{first}")).await.message()["commit"]);
    let hash = id(&workshop.alice().get(&format!("/commits/{commit}")).await.message()["hash"]);
    let head = workshop.repository.commit();
    let second = workshop.evaluate().await;
    workshop.worker.evaluate(&[]).await;
    workshop.until(&second, "Completed").await;

    assert_eq!(restart(&workshop).await.error(), (409, "conflict"), "the newest has nothing to restart");
    let of = async |commit: &str| {
        workshop.alice().post("/projects/acme/web/evaluate", json!({"mode": RESTART, "commit": commit})).await
    };
    assert_eq!(of(&head).await.error(), (409, "conflict"));
    assert_eq!(of(&"0".repeat(40)).await.error(), (409, "conflict"));
    let third = id(&of(&hash).await.message());
    let shown = workshop.alice().get(&format!("/evals/{third}")).await.message();
    assert_eq!(shown["commit"], json!(commit));
}

async fn what_cannot_be_restarted_is_said(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let refused = async |workshop: &Workshop, says: &str| {
        let answer = restart(workshop).await;
        assert_eq!(answer.error(), (409, "conflict"));
        assert!(answer.sentence().contains(says), "{}", answer.sentence());
    };
    refused(&workshop, "evaluate it first").await;
    let other = workshop.alice().post("/projects/acme/web/evaluate", json!({"mode": "again"})).await;
    assert_eq!(other.status.as_u16(), 400);

    let evaluation = workshop.evaluate().await;
    refused(&workshop, "is still running").await;
    workshop.alice().post(&format!("/evals/{evaluation}"), json!({"method": "abort"})).await.message();
    workshop.until(&evaluation, "Aborted").await;
    refused(&workshop, "evaluate again instead").await;

    let stopped = workshop.worker.next().await;
    let failure = gradient_domain::Failure { kind: FailureKind::Aborted, message: "stopped".to_owned() };
    workshop.worker.report(&stopped, Report::Failed { failure, log_bytes: 0 }).await;
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE]).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.until(&evaluation, "Completed").await;
    refused(&workshop, "no build of it failed").await;
}

async fn a_permanent_failure_is_kept_until_a_restart(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let first = failed(&mut workshop).await;
    let build = workshop.alice().get(&format!("/evals/{first}/builds")).await.message()["builds"][0]["id"].clone();
    let show = async |workshop: &Workshop| workshop.alice().get(&format!("/builds/{}", id(&build))).await.message();
    let own = show(&workshop).await;
    assert_eq!((&own["failure"]["kind"], &own["failure"]["cached"]), (&json!("permanent"), &json!(false)));

    // The next evaluation takes it as it was, with its time.
    let second = workshop.evaluate().await;
    workshop.until(&second, "Failed").await;
    let shown = show(&workshop).await;
    assert_eq!((&shown["evaluation"], &shown["failure"]["cached"]), (&json!(second), &json!(true)));
    assert_eq!((&shown["failure"]["failed_at"], &shown["finished_at"]), (&own["finished_at"], &own["finished_at"]));
    let why = workshop.alice().get(&format!("/builds/{}/why", id(&build))).await.message();
    assert!(id(&why["sentence"]).contains(&id(&own["finished_at"])), "{why}");

    let third = id(&restart(&workshop).await.message());
    workshop.worker.fail(BASE, FailureKind::Permanent).await;
    workshop.until(&third, "Failed").await;
    let page = workshop.alice().get(&format!("/evals/{third}/builds?status=Failed")).await.message();
    let again = workshop.alice().get(&format!("/builds/{}", id(&page["builds"][0]["id"]))).await.message();
    assert_eq!((&page["total"], &again["failure"]["cached"]), (&json!(1), &json!(false)));
}
