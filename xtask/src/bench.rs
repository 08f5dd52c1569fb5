//! `cargo xtask bench`: measurements of the release programs, through the public interfaces only. `docs/benchmarks.md` says how
//! to read them.

mod api;
mod cache;
mod collect;
mod figures;
mod graph;
mod http;
mod load;
mod proc;
mod push;
mod store_paths;
mod stub_worker;

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
    /// How long it takes to find out what a large cache does not keep.
    Collect,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.what {
        What::Api(options) => api::run(options),
        What::Cache(options) => cache::run(options),
        What::Push(options) => push::run(options),
        What::Collect => collect::run(),
    }
}
