//! End to end: the real server, the real worker, real Nix, through the public interfaces only.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod bucket;
mod building;
mod caches;
mod commands;
mod content_addressed;
mod direct_builds;
mod hosted_worker;
mod hostile;
mod imports;
mod metrics;
mod requests;
mod separate_stores;
mod sessions;
mod settings;
mod shutdown;
mod signing;
mod standby;
mod substitution;
mod tls;
mod trial;
mod unsupported;
mod verify_store;
