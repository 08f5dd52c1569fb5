use std::time::{Duration, Instant};

use gradient_api::{ApiSettings, RateLimits};
use tokio::io::AsyncWriteExt;

use super::raw;
use crate::server::Server;

gradient_test_support::both_databases!(a_body_that_does_not_end_is_given_up, a_connection_that_does_nothing_is_closed);

/// A server that gives its clients one second.
pub(super) async fn impatient(database: &str) -> Server {
    let settings = ApiSettings {
        rate_limits: RateLimits::OFF,
        request_timeout: Duration::from_secs(1),
        keep_alive: Duration::from_secs(1),
        ..ApiSettings::default()
    };
    Server::with_settings(database, settings).await
}

async fn a_body_that_does_not_end_is_given_up(database: &str) {
    let server = impatient(database).await;
    let post = "POST /api/v1/auth/basic/login HTTP/1.1\r\nhost: a\r\n";
    for begun in ["content-length: 100\r\n\r\n{\"loginname\":", "transfer-encoding: chunked\r\n\r\n5\r\n{\"log\r\n"] {
        let answer = raw::send_until_closed(&server, format!("{post}{begun}").as_bytes()).await;
        assert_eq!(answer.status, Some(408), "{}", answer.text);
        assert!(answer.text.contains(r#""code":"request_timeout""#), "{}", answer.text);
    }
    // Where nobody reads the body, the answer comes at once, and the connection ends all the same.
    let answer = raw::send_until_closed(
        &server,
        b"POST /api/v1/health HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    )
    .await;
    assert_eq!(answer.status, Some(405), "{}", answer.text);
}

async fn a_connection_that_does_nothing_is_closed(database: &str) {
    let server = impatient(database).await;
    let get = "GET /api/v1/health HTTP/1.1\r\nhost: a\r\n";
    // Nothing at all; half a head; a whole request and then nothing; a whole request and half of another one.
    for (sent, expected) in
        [("", Some(408)), (get, Some(408)), (&*format!("{get}\r\n"), Some(200)), (&*format!("{get}\r\n{get}"), Some(200))]
    {
        let answer = raw::send_until_closed(&server, sent.as_bytes()).await;
        assert_eq!(answer.status, expected, "after {sent:?}: {}", answer.text);
    }

    // A byte now and then does not help.
    let mut stream = raw::connect(&server).await;
    stream.write_all(format!("{get}\r\n{get}").as_bytes()).await.unwrap();
    let started = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while stream.write_all(b"x").await.is_ok() {
        tick.tick().await;
        assert!(started.elapsed() < Duration::from_secs(20), "the server still listens");
    }
}
