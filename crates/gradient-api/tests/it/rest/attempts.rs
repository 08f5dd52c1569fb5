//! An evaluation whose worker is lost on the way.

use std::time::Duration;

use gradient_domain::{BuildTimes, MessageLevel};
use gradient_engine::EngineSettings;
use gradient_protocol::{EntryPoint, EvaluationMessage, Report};
use serde_json::json;

use super::worker::{BASE, TREE, Worker, Workshop, tree};
use crate::server::Server;

gradient_test_support::both_databases!(what_a_lost_worker_found_is_not_mixed_with_what_the_next_one_finds);

async fn what_a_lost_worker_found_is_not_mixed_with_what_the_next_one_finds(database: &str) {
    let lease = Duration::from_millis(300);
    let settings = EngineSettings { allow_local_repositories: true, lease, ..EngineSettings::default() };
    let mut workshop = Workshop::of(Server::with_engine(database, settings).await).await;
    let evaluation = workshop.evaluate().await;
    let assignment = workshop.worker.fetch().await;
    let entry_point =
        |attribute: &str, outcome| EntryPoint { attribute: attribute.to_owned(), outcome, times: BuildTimes::default() };
    let failed = |attribute: &str| entry_point(attribute, Err("out of memory".to_owned()));
    let found = entry_point("packages.base", Ok(BASE.path.parse().unwrap()));
    let message = EvaluationMessage {
        level: MessageLevel::Warning,
        source: "nix".to_owned(),
        attribute: None,
        message: "a warning".to_owned(),
    };
    let part = Report::Derivations {
        derivations: vec![BASE.file()],
        entry_points: vec![failed("packages.tree"), failed("packages.other"), found],
        messages: vec![message],
    };
    workshop.worker.report(&assignment, part).await;
    let shown = workshop.alice().get(&format!("/evals/{evaluation}")).await.message();
    assert_eq!((&shown["error_count"], &shown["warning_count"]), (&json!(2), &json!(1)));

    let next = Worker::connect(workshop.alice(), "acme").await;
    std::mem::replace(&mut workshop.worker, next).leave().await;
    // The build that the first one had begun comes again too.
    let (one, other) = (workshop.worker.next().await, workshop.worker.next().await);
    let (again, base) = if one.job == assignment.job { (one, other) } else { (other, one) };
    assert_eq!((again.job, again.epoch), (assignment.job, assignment.epoch.next()));
    workshop.worker.evaluate_assigned(&again, &[BASE, TREE]).await;
    workshop.worker.finish(&base, BASE, &tree(&[("x", b"x")]), &[], 5).await;
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&evaluation, "Completed").await;

    let shown = workshop.alice().get(&format!("/evals/{evaluation}")).await.message();
    assert_eq!((&shown["error_count"], &shown["warning_count"]), (&json!(0), &json!(0)));
    let messages = workshop.alice().get(&format!("/evals/{evaluation}/messages")).await.message();
    assert_eq!(messages, json!([]));
    let entry_points =
        workshop.alice().get(&format!("/projects/acme/web/entry-points?evaluation_id={evaluation}")).await.message();
    let entry_points: Vec<_> = entry_points.as_array().unwrap().iter().map(|point| &point["eval"]).collect();
    assert_eq!(entry_points, [&json!("packages.tree")]);
}
