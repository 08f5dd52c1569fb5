//! Builds as they wait, run and end, their logs and what they are made from.

use gradient_domain::FailureKind;
use gradient_protocol::Report;
use serde_json::{Value, json};

use super::worker::{BASE, TREE, Workshop, tree};

gradient_test_support::both_databases!(
    a_build_says_why_it_is_where_it_is,
    a_log_is_read_in_parts,
    an_attempt_tells_how_long_its_log_is,
    pages_of_builds_are_cut_where_asked,
    what_a_build_is_made_from_is_shown,
);

async fn show(workshop: &Workshop, path: &str) -> Value {
    workshop.alice().get(path).await.message()
}

/// The ids of an evaluation's builds of the base and of the tree.
async fn ids(workshop: &Workshop, evaluation: &str) -> [String; 2] {
    let page = show(workshop, &format!("/evals/{evaluation}/builds")).await;
    let ids = page["builds"].as_array().unwrap().iter().map(|build| build["id"].as_str().unwrap().to_owned());
    ids.collect::<Vec<_>>().try_into().unwrap()
}

async fn a_build_says_why_it_is_where_it_is(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    let assignment = workshop.worker.next_build(BASE).await;
    let [base, tree] = ids(&workshop, &evaluation).await;
    assert_eq!(base, assignment.build().to_string());
    let (why_base, why_tree) = (format!("/builds/{base}/why"), format!("/builds/{tree}/why"));

    let waiting = json!({"kind": "dependencies", "builds": [base]});
    let expected = json!({"status": "Queued", "waiting_reason": waiting, "sentence": "It waits for base."});
    assert_eq!(show(&workshop, &why_tree).await, expected);
    let shown = show(&workshop, &format!("/builds/{tree}")).await;
    assert_eq!((&shown["waiting_reason"], &shown["worker"], &shown["failure"]), (&waiting, &json!(null), &json!(null)));

    let worker = workshop.worker.id;
    let sentence = format!("Worker {worker} has it and brings its inputs to its store.");
    assert_eq!(show(&workshop, &why_base).await, json!({"status": "Building", "waiting_reason": null, "sentence": sentence}));
    workshop.worker.report(&assignment, Report::Started {}).await;
    assert_eq!(show(&workshop, &why_base).await["sentence"], format!("Worker {worker} builds it."));
    assert_eq!(show(&workshop, &format!("/builds/{base}")).await["worker"], json!(worker));

    workshop.worker.fail_assigned(&assignment, FailureKind::Permanent).await;
    workshop.until(&evaluation, "Failed").await;
    assert_eq!(show(&workshop, &why_base).await["sentence"], "Its builder failed.");
    assert_eq!(show(&workshop, &why_tree).await["sentence"], "It was not built, because base failed, which it needs.");
    let shown = show(&workshop, &format!("/builds/{tree}")).await;
    assert_eq!((&shown["status"], &shown["failed_dependency"]), (&json!("DependencyFailed"), &json!(base)));
    let shown = show(&workshop, &format!("/builds/{base}")).await;
    let failure = json!({
        "kind": "permanent", "message": "it failed: permanent", "log_tail": "building\nerror: permanent\n", "cached": false,
        "failed_at": shown["finished_at"]
    });
    assert_eq!(shown["failure"], failure);
    let attempts = shown["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["attempt"], &attempts[0]["worker"]), (1, &json!(1), &json!(worker)));

    let stranger = workshop.server.signed_in("bob").await;
    assert_eq!(workshop.server.with(&stranger).get(&why_base).await.error(), (404, "not_found"));
    assert_eq!(workshop.server.anonymous().get(&why_base).await.error(), (401, "unauthorized"));
}

async fn a_log_is_read_in_parts(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE]).await;
    let build = workshop.worker.fail(BASE, FailureKind::Permanent).await;
    workshop.until(&evaluation, "Failed").await;
    let log = async |query: &str| workshop.alice().get(&format!("/builds/{build}/log{query}")).await;
    let all = "building\nerror: permanent\n";
    assert_eq!(log("").await.message(), all);
    assert_eq!(log("?attempt=1").await.message(), all);
    assert_eq!(log("?offset=9&limit=5").await.message(), "error");
    assert_eq!(log("?limit=0").await.message(), "");
    assert_eq!(log("?offset=1000000").await.message(), "");
    assert_eq!(log("?attempt=7").await.error(), (404, "not_found"));
    assert_eq!(log("?attempt=x").await.error(), (400, "bad_request"));
}

async fn an_attempt_tells_how_long_its_log_is(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE]).await;
    let assignment = workshop.worker.next_build(BASE).await;
    let path = format!("/builds/{}", assignment.build());
    assert_eq!(show(&workshop, &path).await["attempts"][0]["log_bytes"], json!(0));
    workshop.worker.print(&assignment, "started\n").await;
    assert_eq!(show(&workshop, &path).await["attempts"][0]["log_bytes"], json!(8), "while it runs");
    workshop.alice().post(&format!("/evals/{evaluation}"), json!({"method": "abort"})).await.message();
    let aborted = show(&workshop, &path).await;
    assert_eq!((&aborted["status"], &aborted["attempts"][0]["log_bytes"]), (&json!("Aborted"), &json!(8)));
    assert_eq!(show(&workshop, &format!("{path}/log")).await, "started\n");
}

async fn pages_of_builds_are_cut_where_asked(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.worker.next_build(BASE).await;
    let [base, tree] = ids(&workshop, &evaluation).await;
    let page = async |query: &str| {
        let page = show(&workshop, &format!("/evals/{evaluation}/builds{query}")).await;
        let ids: Vec<_> = page["builds"].as_array().unwrap().iter().map(|build| build["id"].clone()).collect();
        (ids, page["total"].as_i64().unwrap())
    };
    for filter in ["", "&status=Queued"] {
        let (base, tree, total) = match filter {
            "" => (vec![json!(base)], vec![json!(tree)], 2),
            // A worker has the base.
            _ => (vec![json!(tree)], vec![], 1),
        };
        assert_eq!(page(&format!("?limit=1{filter}")).await, (base, total), "{filter}");
        assert_eq!(page(&format!("?limit=1&offset=1{filter}")).await, (tree, total), "{filter}");
        assert_eq!(page(&format!("?limit=1000&offset=2{filter}")).await, (vec![], total), "{filter}");
        assert_eq!(page(&format!("?offset=9223372036854775807{filter}")).await, (vec![], total), "{filter}");
    }
}

async fn what_a_build_is_made_from_is_shown(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.worker.build(TREE, &tree(&[("y", b"y")]), &[]).await;
    workshop.until(&evaluation, "Completed").await;
    let [base, root] = ids(&workshop, &evaluation).await;

    let graph = show(&workshop, &format!("/builds/{root}/graph")).await;
    assert_eq!((&graph["root"], &graph["edges"]), (&json!(root), &json!([{"source": base, "target": root}])));
    let nodes = graph["nodes"].as_array().unwrap();
    let node = |node: &Value| (node["id"].clone(), node["name"].clone(), node["path"].clone(), node["status"].clone());
    let expected =
        |id: &str, name: &str, path: &str| (json!(id), json!(name), json!(format!("/nix/store/{path}")), json!("Completed"));
    let (base_node, root_node) = (expected(&base, "base", BASE.path), expected(&root, "tree", TREE.path));
    assert_eq!(nodes.iter().map(node).collect::<Vec<_>>(), [root_node, base_node.clone()]);
    let cut = show(&workshop, &format!("/builds/{root}/graph?limit=1")).await;
    assert_eq!((cut["nodes"].as_array().unwrap().len(), &cut["edges"]), (1, &json!([])));
    let direct = show(&workshop, &format!("/builds/{root}/dependencies")).await;
    assert_eq!(direct.as_array().unwrap().iter().map(node).collect::<Vec<_>>(), [base_node]);
    assert_eq!(show(&workshop, &format!("/builds/{base}/dependencies")).await, json!([]));
}
