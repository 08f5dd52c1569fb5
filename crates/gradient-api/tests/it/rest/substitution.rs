//! What an upstream has is not built.

mod upstream;

use gradient_domain::{BuildTimes, FailureKind, JobKind};
use gradient_engine::EngineSettings;
use gradient_nix::StorePath;
use gradient_protocol::{BuildTask, EntryPoint, Report, Task};
use serde_json::{Value, json};

use self::upstream::Upstream;
use super::worker::{Assignment, BASE, Derivation, TREE, Workshop, sha256, tree};
use crate::server::Server;

gradient_test_support::both_databases!(
    an_input_is_fetched_from_the_upstream,
    nothing_below_what_is_there_is_asked_for_or_built,
    what_somebody_else_has_signed_is_built,
    what_an_upstream_does_not_answer_is_built_and_said,
    what_was_below_is_built_once_it_is_needed,
    what_was_below_is_read_back_once_it_is_needed,
    what_an_upstream_has_lost_is_built,
    a_restart_needs_what_was_there,
    what_another_cache_of_this_server_has_is_given_from_here,
    only_what_readers_find_counts_for_an_entry_point,
);

/// The NAR that the upstream has of [`BASE`].
fn base() -> Vec<u8> {
    tree(&[("x", b"from the upstream")])
}

/// A workshop whose cache looks into an upstream.
async fn workshop(database: &str) -> (Workshop, Upstream) {
    let settings = EngineSettings { allow_local_repositories: true, build_max_attempts: 1, ..EngineSettings::default() };
    let (workshop, upstream) = (Workshop::of(Server::with_engine(database, settings).await).await, Upstream::start());
    look_into(&workshop, "main", &upstream, &upstream.public_key()).await;
    (workshop, upstream)
}

async fn look_into(workshop: &Workshop, cache: &str, upstream: &Upstream, key: &str) {
    let body = json!({"display_name": "Upstream", "url": upstream.url, "public_key": key});
    workshop.alice().put(&format!("/caches/{cache}/upstreams"), body).await.message();
}

/// The statuses of an evaluation's builds by name; that as many are counted is checked.
async fn statuses(workshop: &Workshop, evaluation: &str) -> Vec<(String, String)> {
    let page = workshop.alice().get(&format!("/evals/{evaluation}/builds")).await.message();
    let text = |build: &Value, field: &str| build[field].as_str().unwrap().to_owned();
    let builds = page["builds"].as_array().unwrap();
    let mut found: Vec<_> = builds.iter().map(|build| (text(build, "name"), text(build, "status"))).collect();
    found.sort();
    let shown = workshop.alice().get(&format!("/evals/{evaluation}")).await.message();
    let substituted = found.iter().filter(|(_, status)| status == "Substituted").count();
    assert_eq!(shown["builds"]["by_status"]["Substituted"], json!(substituted), "{shown}");
    found
}

fn is(name: &str, status: &str) -> (String, String) {
    (name.to_owned(), status.to_owned())
}

fn build_task(assignment: &Assignment) -> &BuildTask {
    let Task::Build(task) = &assignment.task else { panic!("{:?} is no build", assignment.job) };
    task
}

fn path(text: &str) -> StorePath {
    text.parse().unwrap()
}

async fn an_input_is_fetched_from_the_upstream(database: &str) {
    let (mut workshop, upstream) = workshop(database).await;
    upstream.offer(BASE, &base(), &[]);
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;

    let assignment = workshop.worker.next_build(TREE).await;
    let task = build_task(&assignment);
    let [input] = &task.inputs[..] else { panic!("{:?}", task.inputs) };
    assert_eq!((&input.path, input.nar_hash), (&path(BASE.output), sha256(&base())));
    let nar = input.upstream.clone().expect("the server does not have it");
    assert_eq!((nar.url, nar.compression.as_str()), (format!("{}/nar/one.nar.xz", upstream.url), "xz"));
    assert_eq!((nar.public_key, nar.local), (upstream.public_key(), true));
    assert!(nar.signature.starts_with("upstream-1:"));

    // What is built refers to it, and is published with that.
    let nar = tree(&[("y", format!("/nix/store/{}", BASE.output).as_bytes())]);
    workshop.worker.finish(&assignment, TREE, &nar, &[BASE.output], 5).await;
    workshop.until(&evaluation, "Completed").await;
    assert_eq!(statuses(&workshop, &evaluation).await, [is("base", "Substituted"), is("tree", "Completed")]);
    let found = workshop.server.engine.served_cache(&"main".parse().unwrap()).await.unwrap().unwrap();
    let narinfo = workshop.server.engine.narinfo(&found, path(TREE.output).hash()).await.unwrap().expect("it is published");
    assert!(String::from_utf8_lossy(&narinfo).contains(&format!("References: {}", BASE.output)));

    // Why it is where it is.
    let page = workshop.alice().get(&format!("/evals/{evaluation}/builds?status=Substituted")).await.message();
    assert_eq!(page["total"], json!(1), "{page}");
    let id = page["builds"][0]["id"].as_str().unwrap();
    let why = workshop.alice().get(&format!("/builds/{id}/why")).await.message();
    assert!(why.to_string().contains("upstream"), "{why}");
}

async fn nothing_below_what_is_there_is_asked_for_or_built(database: &str) {
    let (mut workshop, upstream) = workshop(database).await;
    upstream.offer(TREE, &tree(&[("y", b"z")]), &[]);
    let first = workshop.evaluate().await;
    let assignment = workshop.worker.fetch().await;
    // In parts, so that it is not known yet who needs the first of them.
    let part = Report::Derivations { derivations: vec![BASE.file()], entry_points: vec![], messages: vec![] };
    workshop.worker.report(&assignment, part).await;
    workshop.worker.evaluate_assigned(&assignment, &[TREE]).await;
    workshop.until(&first, "Completed").await;
    assert_eq!(statuses(&workshop, &first).await, [is("tree", "Substituted")]);
    assert!(upstream.was_asked(TREE) && !upstream.was_asked(BASE));
    let route = format!("/projects/acme/web/entry-points?evaluation_id={first}");
    let entry_points = workshop.alice().get(&route).await.message();
    assert_eq!(entry_points[0]["build_status"], json!("Substituted"), "{entry_points}");
    assert!(entry_points.to_string().contains(TREE.output), "{entry_points}");

    // The same commit again costs nothing either.
    let second = workshop.evaluate().await;
    workshop.until(&second, "Completed").await;
    assert_eq!(statuses(&workshop, &second).await, [is("tree", "Substituted")]);
}

async fn what_somebody_else_has_signed_is_built(database: &str) {
    let (mut workshop, upstream) = (Workshop::open(database).await, Upstream::start());
    let other_key = gradient_nix::SigningKey::from_bytes("upstream-1", &[8; 32]).unwrap().public().to_string();
    look_into(&workshop, "main", &upstream, &other_key).await;
    upstream.offer(BASE, &base(), &[]);
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&evaluation, "Completed").await;
    assert!(upstream.was_asked(BASE));
    assert_eq!(statuses(&workshop, &evaluation).await, [is("base", "Completed"), is("tree", "Completed")]);
}

async fn what_an_upstream_does_not_answer_is_built_and_said(database: &str) {
    let (mut workshop, upstream) = workshop(database).await;
    upstream.offer(BASE, &base(), &[]);
    upstream.set_broken(true);
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&evaluation, "Completed").await;
    let messages = workshop.alice().get(&format!("/evals/{evaluation}/messages")).await.message();
    let [message] = &messages.as_array().unwrap()[..] else { panic!("{messages}") };
    assert_eq!((&message["level"], &message["source"]), (&json!("Warning"), &json!("upstream")));
    assert!(message["message"].as_str().unwrap().contains(&upstream.url), "{message}");
}

async fn what_was_below_is_built_once_it_is_needed(database: &str) {
    let (mut workshop, upstream) = workshop(database).await;
    upstream.offer(TREE, &tree(&[("y", b"z")]), &[]);
    let evaluation = workshop.evaluate().await;
    let assignment = workshop.worker.fetch().await;
    workshop.worker.report(&assignment, part(&[BASE, TREE], "packages.tree", TREE)).await;
    assert_eq!(statuses(&workshop, &evaluation).await, [is("tree", "Substituted")]);
    workshop.worker.report(&assignment, part(&[], "packages.base", BASE)).await;
    workshop.worker.report(&assignment, Report::Evaluated {}).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.until(&evaluation, "Completed").await;
    assert_eq!(statuses(&workshop, &evaluation).await, [is("base", "Completed"), is("tree", "Substituted")]);
}

/// These derivations, and that an attribute is one that has come by then.
fn part(derivations: &[Derivation], attribute: &str, root: Derivation) -> Report {
    Report::Derivations {
        derivations: derivations.iter().map(Derivation::file).collect(),
        entry_points: vec![EntryPoint {
            attribute: attribute.to_owned(),
            outcome: Ok(root.path.parse().unwrap()),
            times: BuildTimes::default(),
        }],
        messages: vec![],
    }
}

async fn what_was_below_is_read_back_once_it_is_needed(database: &str) {
    let (mut workshop, upstream) = workshop(database).await;
    upstream.offer(TREE, &tree(&[("y", b"z")]), &[]);
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.until(&first, "Completed").await;

    workshop.repository.commit();
    let second = workshop.evaluate().await;
    let assignment = workshop.worker.fetch().await;
    workshop.worker.report(&assignment, part(&[], "packages.base", BASE)).await;
    workshop.worker.report(&assignment, Report::Evaluated {}).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.until(&second, "Completed").await;
    assert_eq!(statuses(&workshop, &second).await, [is("base", "Completed")]);
}

async fn what_an_upstream_has_lost_is_built(database: &str) {
    let (mut workshop, upstream) = workshop(database).await;
    upstream.offer(TREE, &tree(&[("y", b"z")]), &[]);
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.until(&first, "Completed").await;

    // Another upstream, as answers of this one are remembered for a while.
    let other = Upstream::start();
    let upstreams = workshop.alice().get("/caches/main/upstreams").await.message();
    let id = upstreams[0]["id"].as_str().unwrap();
    workshop.alice().patch(&format!("/caches/main/upstreams/{id}"), json!({"url": other.url})).await.message();
    let second = workshop.evaluate().await;
    let assignment = workshop.worker.fetch().await;
    assert_eq!(assignment.job.kind(), JobKind::Evaluate, "what is known does not hold any more");
    workshop.worker.evaluate_assigned(&assignment, &[BASE, TREE]).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&second, "Completed").await;
    assert_eq!(statuses(&workshop, &second).await, [is("base", "Completed"), is("tree", "Completed")]);
    // History does not change.
    assert_eq!(statuses(&workshop, &first).await, [is("tree", "Substituted")]);
}

async fn a_restart_needs_what_was_there(database: &str) {
    let (mut workshop, upstream) = workshop(database).await;
    upstream.offer(BASE, &base(), &[]);
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.worker.fail(TREE, FailureKind::Permanent).await;
    workshop.until(&first, "Failed").await;

    let restart = json!({"mode": "restart_failed"});
    let second = workshop.alice().post("/projects/acme/web/evaluate", restart.clone()).await.message();
    workshop.worker.fail(TREE, FailureKind::Permanent).await;
    workshop.until(second.as_str().unwrap(), "Failed").await;
    assert_eq!(statuses(&workshop, second.as_str().unwrap()).await, [is("base", "Substituted"), is("tree", "Failed")]);

    let upstreams = workshop.alice().get("/caches/main/upstreams").await.message();
    let id = upstreams[0]["id"].as_str().unwrap();
    workshop.alice().delete(&format!("/caches/main/upstreams/{id}")).await.message();
    let refused = workshop.alice().post("/projects/acme/web/evaluate", restart).await;
    assert_eq!(refused.error(), (409, "conflict"));
    assert!(refused.sentence().contains("upstream"), "{}", refused.sentence());
}

async fn what_another_cache_of_this_server_has_is_given_from_here(database: &str) {
    let mut workshop = Workshop::open(database).await;
    workshop.alice().cache("other", false).await;
    let other = workshop.server.engine.served_cache(&"other".parse().unwrap()).await.unwrap().unwrap();
    crate::cache_root::published::publish(&workshop.server, other.id, BASE.output, &base(), &[]).await;

    // A private one that the organization does not read is nobody's business.
    let first = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    let assignment = workshop.worker.next_build(BASE).await;
    let body = json!({"method": "abort"});
    workshop.alice().post(&format!("/evals/{first}"), body).await.message();
    workshop.worker.fail_assigned(&assignment, FailureKind::Aborted).await;

    workshop.alice().post("/orgs/acme/subscribe/other", json!({"mode": "read_only"})).await.message();
    workshop.repository.commit();
    let second = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    let assignment = workshop.worker.next_build(TREE).await;
    let task = build_task(&assignment);
    let inputs: Vec<_> = task.inputs.iter().map(|input| (input.path.clone(), input.upstream.is_some())).collect();
    assert_eq!(inputs, [(path(BASE.output), false)]);
    assert_eq!(workshop.worker.download(&assignment, &path(BASE.output)).await, base());
    workshop.worker.finish(&assignment, TREE, &tree(&[("y", b"y")]), &[], 5).await;
    workshop.until(&second, "Completed").await;
    assert_eq!(statuses(&workshop, &second).await, [is("base", "Substituted"), is("tree", "Completed")]);
}

async fn only_what_readers_find_counts_for_an_entry_point(database: &str) {
    let (mut workshop, upstream) = (Workshop::open(database).await, Upstream::start());
    workshop.alice().cache("mirror", true).await;
    workshop.alice().post("/orgs/acme/subscribe/mirror", json!({"mode": "read_only"})).await.message();
    look_into(&workshop, "mirror", &upstream, &upstream.public_key()).await;
    upstream.offer(BASE, &base(), &[]);
    upstream.offer(TREE, &tree(&[("y", b"z")]), &[]);
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    // The cache that it is published to does not look there.
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&evaluation, "Completed").await;
    assert_eq!(statuses(&workshop, &evaluation).await, [is("base", "Substituted"), is("tree", "Completed")]);
}
