//! The scheduler, as its events and decisions show it.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod aborts;
mod assignment;
mod early;
mod evaluations;
mod explanations;
mod failures;
mod fixture;
mod leases;
mod locality;
mod model;
mod order;
mod restore;
mod shares;
mod world;
