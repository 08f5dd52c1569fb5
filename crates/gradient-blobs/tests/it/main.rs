//! The store of blobs on a real directory, and in the bucket of a real server.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail the test")]

mod bucket;
mod directory;
mod process;
mod store;
mod stores;
