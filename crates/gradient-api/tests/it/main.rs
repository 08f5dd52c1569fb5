//! The server over HTTP, on both databases.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod cache_root;
mod metrics;
mod rest;
mod server;
