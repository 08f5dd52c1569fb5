//! Gradient over HTTP: the REST API under `/api/v1`, the binary cache at `/cache/{cache}/…`, the workers' socket at `/proto`.
//!

mod body;
mod cache_root;
mod envelope;
mod error;
mod ndjson;
mod request_id;
mod routes;
mod scope;
mod serve;
mod worker_socket;
mod worker_transfer;

pub(crate) use error::ApiError;
pub use serve::{ApiSettings, serve};
