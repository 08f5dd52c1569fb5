//! Who sends much at once keeps nobody else out.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use super::raw;
use crate::server::Server;

gradient_test_support::both_databases!(
    large_bodies_of_one_user_leave_room_for_others,
    a_worker_proves_its_job_before_its_question_is_read
);

/// Makes an organization, with a body that is larger than what of each is not counted; the status.
async fn make(server: &Server, token: &str, name: &str) -> Option<u16> {
    let body = format!(r#"{}{{"name": "{name}", "display_name": "{name}", "public": false}}"#, " ".repeat(256 << 10));
    raw::request(server, "PUT", "/orgs", token, body.as_bytes()).await.status
}

async fn large_bodies_of_one_user_leave_room_for_others(database: &str) {
    let server = Server::start(database).await;
    let (alice, bob) = (server.signed_in("alice").await, server.signed_in("bob").await);
    let size = 2 << 20;
    let head = format!(
        "PUT /api/v1/orgs HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {alice}\r\ncontent-type: application/json\r\n\
         content-length: {size}\r\n\r\n"
    );
    let unfinished = [head.into_bytes(), vec![b' '; size - 1]].concat();
    let mut open = Vec::new();
    for _ in 0..33 {
        let mut stream = raw::connect(&server).await;
        // Those that are too many are refused in the middle.
        let _ = stream.write_all(&unfinished).await;
        open.push(stream);
    }
    let end = Instant::now() + Duration::from_secs(20);
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while make(&server, &alice, "acme").await != Some(503) {
        assert!(Instant::now() < end, "Alice may send as much as she likes");
        ticks.tick().await;
    }
    assert_eq!(make(&server, &bob, "bobs").await, Some(200));
    server.with(&alice).organization("small", false).await;
}

async fn a_worker_proves_its_job_before_its_question_is_read(database: &str) {
    let server = Server::start(database).await;
    let question = format!(
        "POST /proto/jobs/build/{}/1/missing HTTP/1.1\r\nhost: a\r\nauthorization: Bearer nobody\r\ncontent-length: 2000000\r\n\
         \r\n{{\"paths\":",
        uuid::Uuid::nil()
    );
    let answer = raw::send(&server, question.as_bytes()).await;
    assert_eq!(answer.status, Some(401), "{}", answer.text);
}
