//! The description of the API, and the page that shows it.

use serde_json::Value;

use crate::server::Server;

gradient_test_support::both_databases!(the_description_is_there_for_everybody, the_page_has_its_files_from_the_server);

async fn the_description_is_there_for_everybody(database: &str) {
    let server = Server::start(database).await;
    let response = server.http.get(format!("{}/api/v1/openapi.json", server.url)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()), (200, "application/json"));
    let description: Value = response.json().await.unwrap();
    assert_eq!(description["openapi"].as_str().unwrap().split('.').next(), Some("3"));
    assert_eq!(description, serde_json::to_value(gradient_api::openapi()).unwrap());
}

async fn the_page_has_its_files_from_the_server(database: &str) {
    let server = Server::start(database).await;
    let get = async |file: &str| server.http.get(format!("{}/api/docs{file}", server.url)).send().await.unwrap();
    let page = get("").await;
    assert_eq!(page.url().path(), "/api/docs/");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
    let page = page.text().await.unwrap();
    for place in page
        .split(['"', '\''])
        .filter(|text| std::path::Path::new(text).extension().is_some_and(|kind| kind == "js" || kind == "css"))
    {
        assert!(!place.contains("//"), "from elsewhere: {place}");
        assert_eq!(get(&format!("/{}", place.trim_start_matches("./"))).await.status().as_u16(), 200, "{place}");
    }
    let start = get("/swagger-initializer.js").await.text().await.unwrap();
    assert!(start.contains("/api/v1/openapi.json"), "{start}");
    assert_eq!(get("/../../etc/passwd").await.status().as_u16(), 404);
    assert_eq!(get("/nothing.js").await.status().as_u16(), 404);
}
