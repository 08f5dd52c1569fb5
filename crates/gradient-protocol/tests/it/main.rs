//! Frames of each version that was ever spoken are understood for good.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod golden;
mod inputs;
mod messages;
