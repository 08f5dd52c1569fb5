//! Builds of sources that somebody sends.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use gradient_cache_protocol::content_address;
use gradient_domain::{JobKind, Moment};
use gradient_engine::EngineSettings;
use gradient_nix::{CAHash, StorePath, nar::Encoder};
use gradient_protocol::Task;
use reqwest::{Body, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Answer, Client,
    worker::{BASE, Worker, Workshop, sha256, soon, tree},
};
use crate::server::Server;

gradient_test_support::both_databases!(
    sources_are_built_without_a_repository,
    the_order_of_files_does_not_matter,
    an_organization_leaves_room_for_others,
    what_is_wrong_with_a_form_is_said_and_nothing_is_left,
    what_is_too_large_is_refused,
    only_those_who_may_evaluate_may_build,
    the_newest_twenty_are_listed,
);

const BOUNDARY: &str = "3fa85f64-boundary";

/// A form as it travels.
#[derive(Clone)]
struct Form(Vec<u8>);

impl Form {
    fn new(fields: &[(&str, &str)]) -> Self {
        fields.iter().fold(Self(Vec::new()), |form, (name, value)| form.with(name, value.as_bytes()))
    }

    fn with(mut self, name: &str, contents: &[u8]) -> Self {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"x\"\r\n\r\n");
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(contents);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.0
    }
}

const FLAKE: (&str, &str) = ("file:flake.nix", "{ }");
const ACME: (&str, &str) = ("organization", "acme");
const BASE_PACKAGE: (&str, &str) = ("derivation", "packages.x86_64-linux.base");

fn request(client: Client<'_>, body: impl Into<Body>) -> RequestBuilder {
    let url = format!("{}/api/v1/builds", client.server.url);
    let request = client.server.http.post(url).body(body);
    let request = request.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    client.token.into_iter().fold(request, RequestBuilder::bearer_auth)
}

async fn submit(client: Client<'_>, body: Vec<u8>) -> Answer {
    let response = request(client, body).send().await.unwrap();
    Answer { status: response.status(), body: response.json().await.unwrap() }
}

async fn recent(client: Client<'_>) -> Vec<Value> {
    client.get("/builds/direct/recent").await.message().as_array().unwrap().clone()
}

/// Nothing is on its way, and nothing was stored.
fn assert_nothing_is_left(server: &Server) {
    let staging = server.blobs.staging().path();
    for directory in [staging, &staging.with_file_name("nar"), &staging.with_file_name("ls")] {
        let left: Vec<_> = walk(directory);
        assert!(left.is_empty(), "{left:?}");
    }
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

async fn sources_are_built_without_a_repository(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let program = b"\x7fELF\0";
    let form = Form::new(&[ACME, BASE_PACKAGE, ("file:run.sh", "#!/bin/sh\n"), FLAKE, ("file:src/b/c", ""), ("file:src/a", "a")])
        .with("file:src/prog", program)
        .with("file:src-x", &[0, 0xff, b'\r', b'\n'])
        .with("file:src/large", &vec![7; 300_000]);
    let evaluation = submit(workshop.alice(), form.finish()).await.message().as_str().unwrap().to_owned();

    // The worker is asked to evaluate at once; what it gets is the tree as Nix would have made it.
    let mut nar = Encoder::new(Vec::new()).unwrap();
    nar.start_directory(None).unwrap();
    nar.regular(Some(b"flake.nix"), false, b"{ }").unwrap();
    nar.regular(Some(b"run.sh"), true, b"#!/bin/sh\n").unwrap();
    nar.start_directory(Some(b"src")).unwrap();
    nar.regular(Some(b"a"), false, b"a").unwrap();
    nar.start_directory(Some(b"b")).unwrap();
    nar.regular(Some(b"c"), false, b"").unwrap();
    nar.end_directory().unwrap();
    nar.regular(Some(b"large"), false, &vec![7; 300_000]).unwrap();
    nar.regular(Some(b"prog"), true, program).unwrap();
    nar.end_directory().unwrap();
    nar.regular(Some(b"src-x"), false, &[0, 0xff, b'\r', b'\n']).unwrap();
    nar.end_directory().unwrap();
    let nar = nar.finish().unwrap();
    let assignment = workshop.worker.next().await;
    assert_eq!(assignment.job.kind(), JobKind::Evaluate);
    let Task::Evaluate(task) = &assignment.task else { panic!("{assignment:?}") };
    let address = CAHash::Nar(sha256(&nar).into());
    let path = content_address::store_path("source", &address, &BTreeSet::new()).unwrap();
    assert_eq!((&task.source.path, task.source.nar_hash), (&path, sha256(&nar)));
    assert_eq!(task.wildcard, BASE_PACKAGE.1);
    assert!(workshop.worker.download(&assignment, &path).await == nar);
    let absent: StorePath = BASE.output.parse().unwrap();
    assert_eq!(workshop.worker.missing(&assignment, vec![path, absent.clone()]).await, [absent]);

    workshop.worker.evaluate_assigned(&assignment, &[BASE]).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    workshop.until(&evaluation, "Completed").await;

    let shown = workshop.alice().get(&format!("/evals/{evaluation}")).await.message();
    assert_eq!(
        (&shown["project"], &shown["repository"], &shown["wildcard"]),
        (&json!(null), &json!("direct"), &json!(BASE_PACKAGE.1))
    );
    let commit = workshop.alice().get(&format!("/commits/{}", shown["commit"].as_str().unwrap())).await.message();
    let hash = commit["hash"].as_str().unwrap();
    assert!(hash.len() == 40 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()), "{hash}");
    let expected = json!([{
        "id": evaluation, "derivation": BASE_PACKAGE.1, "created_at": shown["created_at"], "evaluation_id": evaluation,
        "status": "Completed"
    }]);
    assert_eq!(recent(workshop.alice()).await, *expected.as_array().unwrap());
}

async fn the_order_of_files_does_not_matter(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let mut sources = Vec::new();
    let orders = [[ACME, BASE_PACKAGE, FLAKE, ("file:a", "")], [ACME, ("file:a", ""), FLAKE, BASE_PACKAGE]];
    for fields in orders {
        submit(workshop.alice(), Form::new(&fields).finish()).await.message();
        let assignment = workshop.worker.next().await;
        let Task::Evaluate(task) = &assignment.task else { panic!("{assignment:?}") };
        sources.push(task.source.clone());
        workshop.worker.evaluate_assigned(&assignment, &[]).await;
    }
    assert_eq!(sources[0], sources[1]);
}

async fn an_organization_leaves_room_for_others(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    alice.organization("other", false).await;
    let begun = Form::new(&[ACME, BASE_PACKAGE, FLAKE]).0;
    let mut uploads = JoinSet::new();
    for _ in 0..40 {
        let body = stream::iter([Ok::<_, std::io::Error>(begun.clone())]).chain(stream::pending());
        uploads.spawn(request(alice, Body::wrap_stream(body)).send());
    }
    // One that cannot begin is told so, by which time the others of the same organization have what they can have.
    let refused = soon(uploads.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    submit(alice, Form::new(&[("organization", "other"), BASE_PACKAGE, FLAKE]).finish()).await.message();
    assert_eq!(walk(server.blobs.staging().path()).len(), 4);
}

async fn what_is_wrong_with_a_form_is_said_and_nothing_is_left(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;

    let deep = format!("file:{}", ["d"; 65].join("/"));
    for (fields, says) in [
        (vec![BASE_PACKAGE], "`organization` is missing"),
        (vec![ACME, FLAKE], "`derivation` is missing"),
        (vec![ACME, BASE_PACKAGE], "`file:<path>` is missing"),
        (vec![ACME, BASE_PACKAGE, ("file:a/flake.nix", "{ }")], "`file:flake.nix` is missing"),
        (vec![], "`organization` is missing"),
        (vec![BASE_PACKAGE, FLAKE, ACME], "`organization` has to come before the first file"),
        (vec![ACME, BASE_PACKAGE, FLAKE, ACME], "organization: it comes twice"),
        (vec![ACME, ("derivation", "packages..x"), FLAKE], "derivation: "),
        (vec![ACME, ("derivation", "hello"), FLAKE], "derivation: "),
        (vec![ACME, BASE_PACKAGE, FLAKE, ("files", "x")], "there is no field `files`"),
        (vec![ACME, BASE_PACKAGE, FLAKE, ("file:../flake.nix", "x")], "no `..`"),
        (vec![ACME, BASE_PACKAGE, FLAKE, ("file:a/../../b", "x")], "no `..`"),
        (vec![ACME, BASE_PACKAGE, FLAKE, ("file:/etc/passwd", "x")], "relative"),
        (vec![ACME, BASE_PACKAGE, FLAKE, ("file:", "x")], "empty"),
        (vec![ACME, BASE_PACKAGE, FLAKE, ("file:a//b", "x")], "empty name"),
        (vec![ACME, BASE_PACKAGE, FLAKE, (&deep, "x")], "too long"),
        (vec![ACME, BASE_PACKAGE, FLAKE, FLAKE], "`flake.nix` comes twice"),
        (vec![ACME, BASE_PACKAGE, ("file:a", "x"), ("file:a/b", "x")], "`a/b` cannot be a file and a directory"),
        (vec![ACME, BASE_PACKAGE, ("file:a/b", "x"), ("file:a", "x")], "`a` cannot be a file and a directory"),
    ] {
        let answer = submit(alice, Form::new(&fields).finish()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{fields:?}: {}", answer.body);
        assert!(answer.sentence().contains(says), "{fields:?}: {}", answer.body);
    }
    let nul = Form::new(&[ACME, BASE_PACKAGE, FLAKE]).with("file:a\0b", b"").finish();
    assert_eq!(submit(alice, nul).await.status, StatusCode::BAD_REQUEST);

    // Whatever is missing at the end, it is no form.
    let whole = Form::new(&[ACME, BASE_PACKAGE, FLAKE]).finish();
    for length in [0, 30, 200, whole.len() - 60, whole.len() - 8] {
        let answer = submit(alice, whole[..length].to_vec()).await;
        assert_eq!(answer.error(), (400, "bad_request"), "{length} of {}: {}", whole.len(), answer.body);
    }
    let answer = alice.post("/builds", json!({"organization": "acme"})).await;
    assert_eq!(answer.error(), (400, "bad_request"));
    assert_nothing_is_left(&server);
    assert_eq!(recent(alice).await, [json!(null); 0]);
}

async fn what_is_too_large_is_refused(database: &str) {
    let server = Server::with_engine(database, EngineSettings { max_nar_bytes: 100_000, ..EngineSettings::default() }).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;

    let form = Form::new(&[ACME, BASE_PACKAGE, FLAKE]);
    let two = form.clone().with("file:a", &vec![0; 50_000]).with("file:b", &vec![0; 50_000]).finish();
    assert_eq!(submit(alice, two).await.error(), (413, "payload_too_large"));
    // The files fit, but not what a NAR has beside them.
    let many = (0..500).fold(form.clone(), |form, number| form.with(&format!("file:{number}"), &[0; 100])).finish();
    assert_eq!(submit(alice, many).await.error(), (413, "payload_too_large"));
    assert_nothing_is_left(&server);
    submit(alice, form.with("file:a", &vec![0; 90_000]).finish()).await.message();
}

async fn only_those_who_may_evaluate_may_build(database: &str) {
    let server = Server::start(database).await;
    let (alice, bob) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let (alice, bob) = (server.with(&alice), server.with(&bob));
    alice.organization("acme", false).await;
    alice.organization("elsewhere", false).await;
    let form = Form::new(&[ACME, BASE_PACKAGE, FLAKE]).finish();
    assert_eq!(submit(server.anonymous(), form.clone()).await.error(), (401, "unauthorized"));
    assert_eq!(submit(bob, form.clone()).await.error(), (404, "not_found"));
    // Whoever may not is told so whatever else is wrong.
    let wrong = Form::new(&[ACME, ("file:/", "")]).finish();
    assert_eq!(submit(bob, wrong).await.error(), (404, "not_found"));

    alice.post("/orgs/acme/users", json!({"user": "bob", "role": "View"})).await.message();
    assert_eq!(submit(bob, form.clone()).await.error(), (403, "forbidden"));
    let key = alice.key(json!({"name": "e", "permissions": ["viewOrg", "triggerEvaluation"], "organization": "elsewhere"})).await;
    assert_eq!(submit(server.with(&key), form.clone()).await.error(), (404, "not_found"));
    assert_nothing_is_left(&server);
    let key = alice.key(json!({"name": "a", "permissions": ["viewOrg", "triggerEvaluation"], "organization": "acme"})).await;
    submit(server.with(&key), form).await.message();

    assert_eq!(server.anonymous().get("/builds/direct/recent").await.error(), (401, "unauthorized"));
    assert_eq!((recent(alice).await.len(), recent(bob).await.len()), (1, 1));
    let elsewhere = alice.key(json!({"name": "x", "permissions": ["viewOrg"], "organization": "elsewhere"})).await;
    assert_eq!(recent(server.with(&elsewhere)).await.len(), 0);
    let blind = alice.key(json!({"name": "y", "permissions": ["triggerEvaluation"]})).await;
    assert_eq!(recent(server.with(&blind)).await.len(), 0);
    alice.delete_with("/orgs/acme/users", json!({"user": "bob"})).await.message();
    assert_eq!(recent(bob).await.len(), 0);
}

async fn the_newest_twenty_are_listed(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    alice.organization("other", true).await;
    let mut submitted = Vec::new();
    for number in 0..22 {
        let organization = ["acme", "other"][number % 2];
        let text = number.to_string();
        let form = Form::new(&[("organization", organization), BASE_PACKAGE, ("file:flake.nix", &text)]);
        submitted.push(submit(alice, form.finish()).await.message());
    }
    submitted.reverse();
    let listed = recent(alice).await;
    assert_eq!(listed.iter().map(|build| build["id"].clone()).collect::<Vec<_>>(), submitted[..20]);
    let times: Vec<Moment> = listed.iter().map(|build| serde_json::from_value(build["created_at"].clone()).unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let stranger = server.signed_in("bob").await;
    assert_eq!(recent(server.with(&stranger)).await.len(), 0, "a public organization is not Bob's");
    // A worker takes the oldest first.
    let mut worker = Worker::connect(alice, "acme").await;
    let assignment = worker.next().await;
    assert_eq!(json!(assignment.job.uuid()), submitted[21]);
}
