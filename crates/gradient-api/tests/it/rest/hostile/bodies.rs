use serde_json::{Value, json};

use super::{belongings, operations::Operation, raw, with_everything};
use crate::server::Server;

gradient_test_support::both_databases!(
    no_body_is_too_strange,
    fields_of_another_kind_are_refused,
    names_that_look_like_others_are_refused
);

/// Bodies that are no object, no JSON, or no text.
fn strange() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000)).into_bytes();
    vec![
        ("nothing", vec![]),
        ("null", b"null".to_vec()),
        ("a number", b"1e999".to_vec()),
        ("a text", br#""name""#.to_vec()),
        ("a list", br#"["name", "name"]"#.to_vec()),
        ("half an object", br#"{"name": "a"#.to_vec()),
        ("two objects", br#"{"name": "a"} {"name": "b"}"#.to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("no UTF-8", b"{\"name\": \"\xff\xfe\", \"user\": \"\xc0\x80\"}".to_vec()),
        ("UTF-16", "{\"name\": 1}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("half a surrogate pair", br#"{"name": "\ud800", "user": "\udfff"}"#.to_vec()),
        ("a field twice", br#"{"name": "a", "name": "b", "user": "a", "user": "b", "method": "a", "method": "b"}"#.to_vec()),
        ("a prototype", br#"{"__proto__": {"superuser": true}, "constructor": {"prototype": {}}, "name": 1}"#.to_vec()),
        ("deep lists", deep("[", "]")),
        ("deep objects", [b"{\"name\": ".to_vec(), deep("{\"a\":", "}")].concat()),
        ("deep unknown lists", [b"{\"unknown\": ".to_vec(), deep("[", "]"), b", \"name\": 1}".to_vec()].concat()),
        ("a thousand unknown fields", object((0..1000).map(|number| (format!("field-{number}"), json!(number))))),
        ("a form", b"name=a&user=b".to_vec()),
        ("XML", b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>".to_vec()),
        ("zeros", vec![0; 4096]),
    ]
}

fn object(fields: impl Iterator<Item = (String, Value)>) -> Vec<u8> {
    Value::Object(fields.collect()).to_string().into_bytes()
}

/// Values of every kind; no field takes any of them.
fn values() -> Vec<(&'static str, Value)> {
    vec![
        ("a list", json!([[], {}])),
        ("an object", json!({"$ne": null})),
        ("a great number", json!(u64::MAX)),
        ("a small number", json!(i64::MIN)),
        ("a fraction", json!(1e300)),
        ("a text with U+0000", json!("a\u{0}b")),
        ("a long text", json!("a".repeat(20_000))),
        ("a text of control characters", json!("\u{7f}\u{1b}[31m\r\nset-cookie: a=b\u{8}")),
        ("a text with a change of direction", json!("\u{202e}nimda\u{202c}")),
        ("markup", json!("<script>alert(1)</script>'; DROP TABLE users; --")),
    ]
}

/// Every endpoint that wants a body.
fn takers() -> Vec<Operation> {
    let mut all = Operation::all();
    all.retain(|operation| !operation.fields.is_empty());
    assert!(all.len() > 20, "{} endpoints only", all.len());
    all
}

async fn no_body_is_too_strange(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    with_everything(&server, &token).await;
    let before = belongings(server.with(&token)).await;
    for operation in takers() {
        for (what, body) in strange() {
            let answer = raw::request(&server, &operation.method, &operation.path(), &token, &body).await;
            let status = answer.status.unwrap_or_else(|| panic!("{operation} with {what}: closed"));
            // Unknown fields are ignored, and a change may change nothing.
            let fine = status < 500 && operation.answers(status);
            assert!(fine, "{operation} with {what}: {}", answer.text);
            assert!(answer.text.contains(r#"{"error":"#), "{operation} with {what}: no envelope: {}", answer.text);
        }
    }
    assert_eq!(belongings(server.with(&token)).await, before);
}

async fn fields_of_another_kind_are_refused(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    with_everything(&server, &token).await;
    let before = belongings(server.with(&token)).await;
    for operation in takers() {
        for (what, value) in values() {
            // A description may hold any text that is not too long.
            let fields = operation.fields.iter().filter(|field| *field != "description");
            let body = object(fields.map(|field| (field.clone(), value.clone())));
            let answer = raw::request(&server, &operation.method, &operation.path(), &token, &body).await;
            let status = answer.status.unwrap_or_else(|| panic!("{operation} with {what}: closed"));
            assert!(status < 500 && operation.answers(status), "{operation} with {what}: {:.300}", answer.text);
        }
    }
    assert_eq!(belongings(server.with(&token)).await, before);
}

/// Names that look like others, that are a path, or that something else would read as its own.
const NAMES: [&str; 30] = [
    "",
    " ",
    ".",
    "..",
    "../acme",
    "a/b",
    "a\\b",
    "a%2fb",
    "%2e%2e",
    "-acme",
    "acme-",
    "ACME",
    "acme ",
    "acme\n",
    "acme\u{0}",
    "acm\u{435}",
    "ａｃｍｅ",
    "a\u{301}cme",
    "acme\u{200b}",
    "acme\u{ad}",
    "\u{202e}emca",
    "😀",
    "available",
    "public",
    "a'b",
    "a\"b",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "--help",
    "con.",
];

async fn names_that_look_like_others_are_refused(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    with_everything(&server, &token).await;
    let alice = server.with(&token);
    let before = belongings(alice).await;
    let long = "a".repeat(65);
    for name in NAMES.into_iter().chain([long.as_str()]) {
        let body = json!({"name": name, "display_name": "Acme"});
        assert_eq!(alice.put("/orgs", body.clone()).await.error(), (400, "invalid_name"), "{name:?}");
        assert_eq!(alice.put("/caches", body).await.error(), (400, "invalid_name"), "{name:?}");
        let project = json!({
            "name": name, "display_name": "Web", "repository": "https://example.com/a.git", "wildcard": "packages.*"
        });
        assert_eq!(alice.put("/projects/acme", project).await.error(), (400, "invalid_name"), "{name:?}");
        let role = json!({"name": name, "permissions": ["viewOrg"]});
        assert_eq!(alice.post("/orgs/acme/roles", role).await.error(), (400, "invalid_name"), "{name:?}");
        let user = json!({"username": name, "name": "X", "email": "x@example.com", "password": super::super::PASSWORD});
        let refused = server.anonymous().post("/auth/basic/register", user).await;
        if !["-acme", "acme-", "ACME", "available", "public"].contains(&name) && name != long {
            assert_eq!(refused.error(), (400, "invalid_username"), "{name:?}");
        }
    }
    assert_eq!(belongings(alice).await, before);
}
