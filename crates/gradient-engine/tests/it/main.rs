//! The engine through its own door, on both databases.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod aborts;
mod collection;
mod concurrency;
mod content_addressed;
mod forged;
mod ifd_builds;
mod polling;
mod reaper;
mod repository;
mod retention;
mod sessions;
mod tenants;
mod undelivered;
mod world;
