use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gradient_auth::{JwtKeys, SecretKeys};
use gradient_domain::{Moment, SessionId, UserId};
use serde_json::{Value, json};

use super::{belongings, with_everything};
use crate::server::Server;

gradient_test_support::both_databases!(forged_tokens_prove_nothing);

const DAY: Duration = Duration::from_hours(24);

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
}

fn encoded(value: &Value) -> String {
    BASE64.encode(value.to_string())
}

async fn forged_tokens_prove_nothing(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("mallory").await);
    with_everything(&server, &token).await;
    let key = server.with(&token).key(json!({"name": "ci", "permissions": ["viewOrg"]})).await;
    let before = belongings(server.with(&token)).await;

    let mut forged = altered(&token, &other);
    forged.extend(signed(&token, &other));
    forged.extend([
        key[..key.len() - 1].to_owned(),
        format!("{key}x"),
        format!("{}{}", &key[..key.len() - 1], if key.ends_with('A') { 'B' } else { 'A' }),
        key.to_lowercase(),
        format!("GRAD{}", "0".repeat(64)),
        "GRAD".to_owned(),
        "x".repeat(100_000),
    ]);
    // None waits for another request: a connection whose head was refused is of no use any more.
    let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    for forged in forged {
        let get = |path: &str| http.get(format!("{}{path}", server.url));
        for request in [
            get("/api/v1/user").bearer_auth(&forged),
            get("/api/v1/user").header("cookie", format!("jwt_token={forged}")),
            get("/cache/main/nix-cache-info").basic_auth("x", Some(&forged)),
        ] {
            match request.send().await.map(|answer| answer.status().as_u16()) {
                Ok(status) => assert!(status == 401 || (forged.len() > 50_000 && status == 431), "{status} for {forged:.200}"),
                // A head that is too large is refused before anybody looks at the token, and perhaps before all of it is sent.
                Err(error) => assert!(forged.len() > 50_000, "{error} for {forged:.200}"),
            }
        }
    }
    assert_eq!(belongings(server.with(&token)).await, before);
}

/// Tokens made from good ones without a key.
fn altered(token: &str, other: &str) -> Vec<String> {
    let parts: Vec<&str> = token.split('.').collect();
    let (header, claims) = (decoded(parts[0]), decoded(parts[1]));
    let with_header = |name: &str, value: Value, signature: &str| {
        let mut header = header.clone();
        header[name] = value;
        format!("{}.{}.{signature}", encoded(&header), parts[1])
    };
    let with_claim = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        format!("{}.{}.{}", parts[0], encoded(&claims), parts[2])
    };
    let others: Vec<&str> = other.split('.').collect();
    vec![
        String::new(),
        "null".to_owned(),
        "a.b.c".to_owned(),
        "...".to_owned(),
        token[..token.len() - 4].to_owned(),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.{}", parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], others[2]),
        format!("{}.{}.{}", parts[0], others[1], parts[2]),
        with_header("alg", json!("none"), ""),
        with_header("alg", json!("None"), parts[2]),
        with_header("alg", json!("HS512"), parts[2]),
        with_header("alg", json!("RS256"), parts[2]),
        with_header("alg", json!(""), parts[2]),
        with_header("kid", json!("../../../dev/null"), parts[2]),
        with_header("kid", json!(null), parts[2]),
        with_header("jwk", json!({"kty": "oct", "k": "AAAA"}), parts[2]),
        with_header("jku", json!("http://127.0.0.1:1/keys"), parts[2]),
        with_claim("exp", json!(i64::MAX)),
        with_claim("id", decoded(others[1])["id"].clone()),
        with_claim("superuser", json!(true)),
    ]
}

/// Tokens whose signature is right, or would be on another server.
fn signed(token: &str, other: &str) -> Vec<String> {
    let keys = |secret: &str| JwtKeys::new(&SecretKeys::parse(secret).unwrap());
    let (ours, foreign) = (keys("0123456789abcdef0123456789abcdef"), keys("fedcba9876543210fedcba9876543210"));
    let claims = |token: &str| {
        let claims = decoded(token.split('.').nth(1).unwrap());
        let id: UserId = serde_json::from_value(claims["id"].clone()).unwrap();
        let session: SessionId = serde_json::from_value(claims["jti"].clone()).unwrap();
        (id, session)
    };
    let ((alice, session), (mallory, others_session)) = (claims(token), claims(other));
    let now = Moment::now();
    let long_ago = Moment::from_micros(0);
    let issue = |keys: &JwtKeys, user, session, at| keys.issue(user, session, at, DAY).unwrap().expose().to_owned();
    vec![
        // Of another server, with its own kid and with ours.
        issue(&foreign, alice, session, now),
        {
            let theirs = issue(&foreign, alice, session, now);
            let parts: Vec<&str> = theirs.split('.').collect();
            format!("{}.{}.{}", token.split('.').next().unwrap(), parts[1], parts[2])
        },
        issue(&ours, alice, session, long_ago),
        issue(&ours, alice, SessionId::new(), now),
        issue(&ours, UserId::new(), session, now),
        // Somebody else's session under one's own name, and one's own under somebody else's.
        issue(&ours, alice, others_session, now),
        issue(&ours, mallory, session, now),
    ]
}
