//! Every answer that a test of the REST API gets is one that the description has.

use std::sync::LazyLock;

use reqwest::{Method, StatusCode};
use serde_json::Value;

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(gradient_api::openapi()).unwrap());

/// Fails when the operation is described, but not with this status, or not with this code of an error.
pub(super) fn check(method: &Method, path: &str, status: StatusCode, body: &Value) {
    let path = format!("/api/v1{}", path.split('?').next().unwrap_or_default());
    let Some(operation) = operation(method, &path) else { return };
    let response = &operation["responses"][status.as_str()];
    assert!(response.is_object(), "{method} {path} answers {status}, which its description does not have: {body}");
    let response = match response["$ref"].as_str() {
        Some(reference) => DESCRIPTION.pointer(reference.trim_start_matches('#')).unwrap(),
        None => response,
    };
    let codes = &response["content"]["application/json"]["schema"]["properties"]["code"]["enum"];
    if let Some(codes) = codes.as_array().filter(|_| status.is_client_error()) {
        assert!(codes.contains(&body["code"]), "{method} {path} answers {}, but is described with {codes:?}", body["code"]);
    }
}

/// The operation that a path leads to: of several the one with the fewest parameters.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = DESCRIPTION["paths"].as_object().unwrap();
    let fitting = paths.iter().filter(|(template, _)| fits(template, path));
    let (_, item) = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
    item.get(method.as_str().to_lowercase())
}

fn fits(template: &str, path: &str) -> bool {
    let (parts, segments): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    parts.len() == segments.len() && parts.iter().zip(segments).all(|(part, segment)| part.starts_with('{') || *part == segment)
}
