//! Streams of JSON strings, one a line.

use actix_web::{
    HttpResponse,
    http::header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use gradient_engine::EngineError;

/// Tells nginx to pass lines on as they come.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Appends one line that holds `text` as a JSON string.
pub(crate) fn push(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    bytes.push(b'\n');
}

/// An answer that goes on until the stream ends. An error can only end it: the status is sent by then.
pub(crate) fn stream(lines: impl Stream<Item = Result<Bytes, EngineError>> + 'static) -> HttpResponse {
    let lines = lines.map(|line| {
        line.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a log stream broke off");
            std::io::Error::other("the log cannot be read now")
        })
    });
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        .insert_header((X_ACCEL_BUFFERING, HeaderValue::from_static("no")))
        .streaming(lines)
}
