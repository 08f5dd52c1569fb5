//! Every function of the storage, on both databases: each body runs once on SQLite and once on PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_imports, reason = "every file needs many of the fixtures")]

mod api_keys;
mod attempts;
mod build_durations;
mod builds;
mod cache_paths;
mod cache_retention;
mod cache_signatures;
mod caches;
mod commits;
mod concurrency;
mod derivations;
mod email_verifications;
mod evaluations;
mod fixtures;
mod graph;
mod group;
mod leadership;
mod logs;
mod members;
mod migrations;
mod nars;
mod oidc_identities;
mod organizations;
mod paging;
mod paths;
mod projects;
mod realisations;
mod roles;
mod sessions;
mod settings;
mod storage;
mod subscriptions;
mod users;
mod workers;
