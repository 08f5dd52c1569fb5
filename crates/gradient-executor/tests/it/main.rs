//! A worker with real Nix and real git, for a server in the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod drafts;
mod eval_jobs;
mod fetch_and_evaluate;
mod imports;
mod kinds;
mod known;
mod parallel;
mod server;
mod session;
mod times;
mod world;
