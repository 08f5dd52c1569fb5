//! Real git against repositories on this machine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests fail the test")]

mod local;
mod network;
mod process;
mod refused;
mod repository;
