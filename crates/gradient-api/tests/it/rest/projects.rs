//! Projects.

use serde_json::{Value, json};

use super::worker::Workshop;
use crate::server::Server;

gradient_test_support::both_databases!(
    a_project_is_made_changed_and_deleted,
    bad_projects_are_refused,
    what_cannot_be_reached_is_told,
    projects_are_as_visible_as_their_organization,
    evaluations_come_in_pages,
);

fn project(name: &str) -> Value {
    json!({"name": name, "display_name": name, "repository": "https://token@example.com/a.git", "wildcard": "packages.*.#"})
}

async fn a_project_is_made_changed_and_deleted(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    let id = alice.put("/projects/acme", project("web")).await.message();
    let mut shown = alice.get("/projects/acme/web").await.message();
    shown["created_at"].take();
    let expected = json!({
        "id": id, "organization": "acme", "name": "web", "display_name": "web", "description": "",
        "repository": "https://example.com/a.git", "branch": null, "wildcard": "packages.*.#", "active": true,
        "keep_evaluations": 30, "concurrency": "soft_abort", "poll_interval_secs": 0, "publish": "runtime", "allow_ifd": true,
        "priority": 0, "last_evaluation": null, "last_check_at": null, "created_by": "alice", "created_at": null,
        "can_edit": true, "can_trigger": true,
    });
    assert_eq!(shown, expected, "the token in the URL is not shown");

    let changes = json!({"branch": "main", "priority": 5, "concurrency": "skip", "publish": "all", "keep_evaluations": 1});
    alice.patch("/projects/acme/web", changes).await.message();
    let shown = alice.get("/projects/acme/web").await.message();
    assert_eq!((&shown["branch"], &shown["priority"], &shown["publish"]), (&json!("main"), &json!(5), &json!("all")));
    alice.patch("/projects/acme/web", json!({"branch": null})).await.message();
    alice.delete("/projects/acme/web/active").await.message();
    let shown = alice.get("/projects/acme/web").await.message();
    assert_eq!((&shown["branch"], &shown["active"]), (&json!(null), &json!(false)));
    alice.post("/projects/acme/web/active", json!({})).await.message();

    let details = alice.get("/projects/acme/web/details").await.message();
    assert_eq!((&details["name"], &details["last_evaluations"]), (&json!("web"), &json!([])));
    assert_eq!(details["queue"], json!({"queued": 0, "building": 0}));
    assert_eq!(alice.get("/projects/acme/web/entry-points").await.message(), json!([]));
    assert_eq!(alice.get("/projects/acme").await.message()["total"], json!(1));
    alice.delete("/projects/acme/web").await.message();
    assert_eq!(alice.get("/projects/acme/web").await.error(), (404, "not_found"));
    alice.put("/projects/acme", project("web")).await.message();
}

async fn bad_projects_are_refused(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    alice.put("/projects/acme", project("web")).await.message();
    let with = |field: &str, value: Value| {
        let mut body = project("other");
        body[field] = value;
        body
    };
    for (body, expected, words) in [
        (project("web"), (409, "already_exists"), "project"),
        (project("build-request"), (400, "invalid_name"), "reserved"),
        (with("wildcard", json!("packages.a b")), (400, "validation"), "`packages.a b`"),
        (with("wildcard", json!("apps.*")), (400, "validation"), "`apps.*`"),
        (with("repository", json!("--upload-pack=x")), (400, "validation"), "repository"),
        (with("repository", json!("/srv/repository")), (400, "validation"), "not allowed"),
        (with("repository", json!("file:///srv/repository")), (400, "validation"), "not allowed"),
        (with("keep_evaluations", json!(0)), (400, "validation"), "keep_evaluations"),
        (with("poll_interval_secs", json!(-1)), (400, "validation"), "poll_interval_secs"),
        (with("priority", json!(11)), (400, "bad_request"), "priority"),
        (with("concurrency", json!("maybe")), (400, "bad_request"), "concurrency"),
        (with("branch", json!("-x")), (400, "validation"), "branch"),
    ] {
        let answer = alice.put("/projects/acme", body.clone()).await;
        assert_eq!(answer.error(), expected, "{body}");
        assert!(answer.sentence().contains(words), "{words:?} is missing in {answer:?}");
    }
}

async fn what_cannot_be_reached_is_told(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    let mut body = project("web");
    body["repository"] = json!("http://127.0.0.1:1/a");
    alice.put("/projects/acme", body).await.message();
    let answer = alice.post("/projects/acme/web/check-repository", json!({})).await;
    assert_eq!(answer.error(), (400, "repository_unreachable"));
    let answer = alice.post("/projects/acme/web/evaluate", json!({})).await;
    assert_eq!(answer.error(), (400, "repository_unreachable"));
    for commit in ["abc", "main", "-x"] {
        let answer = alice.post("/projects/acme/web/evaluate", json!({"commit": commit})).await;
        assert_eq!(answer.error(), (400, "validation"), "{commit}: the repository is not asked");
    }
    let answer = alice.post("/projects/acme/web/evaluate", json!({"mode": "other"})).await;
    assert_eq!(answer.error(), (400, "validation"));
}

async fn projects_are_as_visible_as_their_organization(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&token), server.with(&other));
    alice.organization("open", true).await;
    alice.organization("closed", false).await;
    alice.put("/projects/open", project("web")).await.message();
    alice.put("/projects/closed", project("web")).await.message();
    let seen = server.anonymous().get("/projects/open/web").await.message();
    assert_eq!((&seen["can_edit"], &seen["can_trigger"]), (&json!(false), &json!(false)));
    assert_eq!(bob.delete("/projects/open/web").await.error(), (403, "forbidden"));
    assert_eq!(server.anonymous().delete("/projects/open/web").await.error(), (401, "unauthorized"));
    assert_eq!(bob.get("/projects/closed/web").await.error(), (404, "not_found"));
    assert_eq!(server.anonymous().get("/projects/closed/web").await.error(), (401, "unauthorized"));
    let missing = "/commits/0191e0f0-0000-7000-8000-000000000000";
    assert_eq!(bob.get(missing).await.error(), (404, "not_found"));
    assert_eq!(server.anonymous().get(missing).await.error(), (401, "unauthorized"));
}

async fn evaluations_come_in_pages(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let evaluation = workshop.evaluate().await;
        workshop.worker.evaluate(&[]).await;
        workshop.until(&evaluation, "Completed").await;
        workshop.repository.commit();
        ids.push(evaluation);
    }
    let page = async |query: &str| workshop.alice().get(&format!("/projects/acme/web/evaluations{query}")).await;
    let newest = page("").await.message();
    assert_eq!((&newest["total"], &newest["page"], &newest["per_page"]), (&json!(2), &json!(1), &json!(50)));
    assert_eq!((&newest["items"][0]["id"], &newest["items"][1]["id"]), (&json!(ids[1]), &json!(ids[0])));
    let details = workshop.alice().get("/projects/acme/web/details").await.message();
    assert_eq!(newest["items"], details["last_evaluations"]);
    let oldest = page("?page=2&per_page=1").await.message();
    assert_eq!((oldest["items"].as_array().unwrap().len(), &oldest["items"][0]["id"]), (1, &json!(ids[0])));
    assert_eq!(page("?per_page=101").await.error(), (400, "bad_request"));
}
