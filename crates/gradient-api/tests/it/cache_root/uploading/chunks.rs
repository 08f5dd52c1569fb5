//! Uploads in pieces.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Nar, World, nar_of, path_of};

gradient_test_support::both_databases!(pieces_become_a_nar, what_is_wrong_with_pieces_is_told, pieces_are_their_uploaders);

async fn begin(world: &World, nar: &Nar) -> String {
    let body = json!({"path": nar.url}).to_string().into_bytes();
    let begun = world.send(Method::POST, "uploads", &world.key, body).await;
    assert_eq!(begun.status, StatusCode::OK, "{}", begun.text);
    let begun: Value = serde_json::from_str(&begun.text).unwrap();
    assert!(begun["chunk_bytes"].as_u64().unwrap() >= 1 << 20);
    begun["id"].as_str().unwrap().to_owned()
}

async fn offset(world: &World, id: &str) -> u64 {
    let request = world.server.http.head(format!("{}/uploads/{id}", world.url())).basic_auth("x", Some(&world.key));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.headers()["upload-offset"].to_str().unwrap().parse().unwrap()
}

async fn pieces_become_a_nar(database: &str) {
    let world = World::start(database).await;
    let noise: Vec<u8> = (0..100_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let (path, nar) = (path_of("large"), nar_of(&noise));
    let id = begin(&world, &nar).await;
    let mut sent = 0;
    for piece in nar.sent.chunks(nar.sent.len() / 3) {
        assert_eq!(offset(&world, &id).await, sent);
        let answer = world.send(Method::PUT, &format!("uploads/{id}?offset={sent}"), &world.key, piece.to_vec()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        sent += piece.len() as u64;
        assert_eq!(serde_json::from_str::<Value>(&answer.text).unwrap(), json!({"offset": sent}));
    }
    assert_eq!(world.send(Method::HEAD, &nar.url, &world.key, Vec::new()).await.status, StatusCode::NOT_FOUND);
    let finished = world.send(Method::POST, &format!("uploads/{id}/finish"), &world.key, Vec::new()).await;
    assert_eq!(finished.status, StatusCode::OK, "{}", finished.text);
    assert_eq!(world.put_narinfo(&path, &nar, &[]).await.text, "published\n");
    let gone = world.send(Method::GET, &format!("uploads/{id}"), &world.key, Vec::new()).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert!(world.server.blobs.partials().list().await.unwrap().is_empty());
}

async fn what_is_wrong_with_pieces_is_told(database: &str) {
    let world = World::start(database).await;
    let nar = nar_of(b"hello\n");
    let id = begin(&world, &nar).await;
    let half = nar.sent.len() / 2;
    let put = async |offset: usize, body: &[u8]| {
        world.send(Method::PUT, &format!("uploads/{id}?offset={offset}"), &world.key, body.to_vec()).await
    };
    put(0, &nar.sent[..half]).await;
    let again = put(0, &nar.sent[..half]).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(again.text.contains(&format!("offset={half}")), "{}", again.text);
    let early = world.send(Method::POST, &format!("uploads/{id}/finish"), &world.key, Vec::new()).await;
    assert_eq!(early.status, StatusCode::BAD_REQUEST, "{}", early.text);
    // Nothing is lost by that.
    put(half, &nar.sent[half..]).await;
    let finished = world.send(Method::POST, &format!("uploads/{id}/finish"), &world.key, Vec::new()).await;
    assert_eq!(finished.status, StatusCode::OK, "{}", finished.text);

    let id = begin(&world, &nar).await;
    let given_up = world.send(Method::DELETE, &format!("uploads/{id}"), &world.key, Vec::new()).await;
    assert_eq!(given_up.status, StatusCode::OK);
    assert_eq!(world.send(Method::HEAD, &format!("uploads/{id}"), &world.key, Vec::new()).await.status, StatusCode::NOT_FOUND);
    assert!(world.server.blobs.partials().list().await.unwrap().is_empty());
    for path in ["", "nar/x.nar", "../../etc/passwd", "nar/../x"] {
        let body = json!({"path": path}).to_string().into_bytes();
        assert_eq!(world.send(Method::POST, "uploads", &world.key, body).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

async fn pieces_are_their_uploaders(database: &str) {
    let world = World::start(database).await;
    let bobs = world.member(gradient_domain::BuiltInRole::Write).await;
    let nar = nar_of(b"hello\n");
    let id = begin(&world, &nar).await;
    for (method, file) in [
        (Method::GET, format!("uploads/{id}")),
        (Method::PUT, format!("uploads/{id}?offset=0")),
        (Method::POST, format!("uploads/{id}/finish")),
        (Method::DELETE, format!("uploads/{id}")),
    ] {
        let sent = world.send(method.clone(), &file, &bobs, nar.sent.clone()).await;
        assert_eq!(sent.status, StatusCode::NOT_FOUND, "{method} {file}");
        let sent = world.send_to("other", method.clone(), &file, &world.key, nar.sent.clone()).await;
        assert_eq!(sent.status, StatusCode::NOT_FOUND, "{method} {file} in another cache");
    }
    assert_eq!(offset(&world, &id).await, 0);
}
