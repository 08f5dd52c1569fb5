use serde_json::json;

use super::{belongings, operations::Operation, raw, with_everything};
use crate::server::Server;

gradient_test_support::both_databases!(no_path_leads_out, what_belongs_to_others_is_not_there);

/// In place of a part of the path.
fn segments() -> Vec<String> {
    let mut segments: Vec<String> = [
        "..",
        "%2e%2e",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%252e%252e",
        ".",
        "%2f",
        "acme%2f..%2facme",
        "%5c..%5c",
        "%00",
        "acme%00",
        "acme%00.png",
        "%",
        "%zz",
        "%ff%fe",
        "%c0%ae%c0%ae",
        "%e2%80%ae",
        "%0d%0aset-cookie:%20a=b",
        "acme%20",
        "%20",
        "+",
        "-1",
        "0",
        "null",
        "undefined",
        "*",
        "'%20OR%20'1'='1",
        "%7b%7b7*7%7d%7d",
        "ACME",
        "acme;a=b",
        "acme,main",
        "~",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "0191e0a0-0000-7000-8000-00000000000g",
    ]
    .map(str::to_owned)
    .to_vec();
    segments.push("a".repeat(10_000));
    segments.push("%61".repeat(5_000));
    segments
}

async fn no_path_leads_out(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    with_everything(&server, &token).await;
    let before = belongings(server.with(&token)).await;
    for operation in Operation::all() {
        for segment in segments() {
            for path in operation.paths_with(&segment) {
                let answer = raw::request(&server, &operation.method, &path, &token, b"{}").await;
                let status = answer.status.unwrap_or_else(|| panic!("{operation} at {path:.200}: closed"));
                assert!((400..500).contains(&status), "{operation} at {path:.200}: {:.300}", answer.text);
                assert!(!answer.text.contains("root:"), "{operation} at {path:.200}: {:.300}", answer.text);
            }
        }
    }
    assert_eq!(belongings(server.with(&token)).await, before);
}

async fn what_belongs_to_others_is_not_there(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("mallory").await);
    with_everything(&server, &token).await;
    let key = server.with(&token).key(json!({"name": "ci", "permissions": ["viewOrg"]})).await;
    let before = belongings(server.with(&token)).await;
    let mallory = server.with(&other);
    mallory.organization("evil", false).await;

    let id_of = |list: &serde_json::Value| list[0]["id"].as_str().unwrap().to_owned();
    let key_id = id_of(&before["/user/keys"]);
    let role = before["/orgs/acme/roles"]["roles"].as_array().unwrap().iter().find(|role| role["built_in"] == json!(false));
    let role_id = role.unwrap()["id"].as_str().unwrap();
    assert_eq!(mallory.patch(&format!("/user/keys/{key_id}"), json!({"name": "mine"})).await.error(), (404, "not_found"));
    assert_eq!(mallory.delete_with("/user/keys", json!({"name": "ci"})).await.error(), (404, "not_found"));
    // Through an organization of one's own.
    for method in ["PATCH", "DELETE"] {
        let path = format!("/orgs/evil/roles/{role_id}");
        let answer = mallory.send(method.parse().unwrap(), &path, Some(json!({"name": "mine"}))).await;
        assert_eq!(answer.error(), (404, "not_found"), "{method}");
    }
    assert_eq!(mallory.post("/orgs/evil/subscribe/main", json!({})).await.error(), (404, "not_found"));
    let pinned = json!({"name": "theirs", "permissions": ["viewOrg"], "organization": "acme"});
    assert_eq!(mallory.post("/user/keys", pinned).await.error(), (404, "not_found"));
    assert_eq!(belongings(server.with(&token)).await, before);
    server.with(&key).get("/orgs/acme").await.message();
}
