//! `cargo xtask bench`: measurements of the release programs, through the public interfaces only. `docs/benchmarks.md` says how
//! to read them.

mod api;
mod cache;
mod collect;
pub(crate) mod database;
mod dispatch;
mod eval;
mod figures;
mod graph;
pub(crate) mod http;
mod load;
mod overhead;
mod proc;
mod push;
mod scheduler;
mod store_paths;
pub(crate) mod stub_worker;
mod transfer;

use anyhow::Result;
use clap::Subcommand;

/// What `cargo xtask bench` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How fast the REST API reads a large evaluation, on SQLite and on a throwaway PostgreSQL.
    Api(api::Options),
    /// How fast the binary cache serves, beside nginx with the same files.
    Cache(cache::Options),
    /// How fast `nix copy` fills the cache, beside `nix copy` into a folder.
    Push(push::Options),
    /// How long tiny builds take through server and worker, beside `nix-build` and `nix copy`.
    Overhead(overhead::Options),
    /// How fast outputs and inputs go between worker and server, beside `nix copy`.
    Transfer(transfer::Options),
    /// How good the order is in which the scheduler builds, and how fast it decides, in simulated worlds.
    Scheduler(scheduler::Options),
    /// How soon free slots have their next build, and how many builds a second are completed, with a thousand workers.
    Dispatch(dispatch::Options),
    /// How long an evaluation of a large package set takes through server and worker, beside `nix eval`.
    Eval(eval::Options),
    /// How long it takes to find out what a large cache does not keep.
    Collect,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.what {
        What::Api(options) => api::run(options),
        What::Cache(options) => cache::run(options),
        What::Push(options) => push::run(options),
        What::Overhead(options) => overhead::run(options),
        What::Transfer(options) => transfer::run(options),
        What::Scheduler(options) => scheduler::run(options),
        What::Dispatch(options) => dispatch::run(options),
        What::Eval(options) => eval::run(options),
        What::Collect => collect::run(),
    }
}
