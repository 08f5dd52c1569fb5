//! Who may read what the server counts.

use gradient_api::{ApiSettings, MetricsAccess, RateLimits};
use reqwest::{Response, StatusCode};

use crate::server::Server;

gradient_test_support::both_databases!(numbers_are_for_the_bearer_of_the_token, without_a_token_there_are_none);

async fn read(server: &Server, authorization: Option<&str>) -> Response {
    let mut request = server.http.get(format!("{}/metrics", server.url));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.send().await.unwrap()
}

async fn numbers_are_for_the_bearer_of_the_token(database: &str) {
    let access = MetricsAccess::new("a-long-token", || "up 1\n".to_owned());
    let settings = ApiSettings { rate_limits: RateLimits::OFF, metrics: Some(access), ..ApiSettings::default() };
    let server = Server::with_settings(database, settings).await;
    for wrong in [
        None,
        Some("Bearer a-long"),
        Some("Bearer a-long-token-"),
        Some("Bearer "),
        Some("Basic a-long-token"),
        Some("a-long-token"),
    ] {
        let refused = read(&server, wrong).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{wrong:?}");
        assert!(refused.headers().contains_key("www-authenticate"));
    }
    let answer = read(&server, Some("Bearer a-long-token")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    assert_eq!(answer.text().await.unwrap(), "up 1\n");
}

async fn without_a_token_there_are_none(database: &str) {
    let server = Server::start(database).await;
    assert_eq!(read(&server, Some("Bearer ")).await.status(), StatusCode::NOT_FOUND);
}
