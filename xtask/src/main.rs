//! The project's own commands, one file per subcommand.

mod arrows;
mod bench;
mod contract;
mod corrupt;
mod demo;
mod faults;
mod fuzz;
mod interrupt;
mod openapi;
mod prerequisites;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use prerequisites::packages::Packages;

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole of Gradient at work: from a flake in git to a signed closure in a Nix client's store.
    Demo(demo::Options),
    /// Check that crates only use the crates that the design lets them use.
    Arrows,
    /// Check what neither the formatter nor the compiler can: file lengths, paired migrations, the invariants.
    Tidy,
    /// Install the packages from PyPI, npm and crates.io that tests run, and print the variables that tell tests where they are.
    Packages,
    /// Write docs/gradient-api.yaml, the description of the REST API, from the code.
    Openapi(openapi::Options),
    /// Measure how fast the release programs are.
    Bench(bench::Options),
    /// Let schemathesis ask a server everything that its own description allows, and what it does not.
    Contract(contract::Options),
    /// Send 10,000 damaged uploads to a server with each database, and see each refused with nothing left behind.
    Corrupt,
    /// Throw faults at server, worker and database while they build, and see that nothing is lost.
    Faults(faults::Options),
    /// Run the fuzz targets, each for a while; see docs/fuzzing.md.
    Fuzz(fuzz::Options),
    /// Run all checks and tests, with a throwaway PostgreSQL and real Nix.
    Test(test::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Arrows => arrows::run(),
        Command::Tidy => tidy::run(),
        Command::Packages => Packages::ensure().map(|packages| packages.print()),
        Command::Openapi(options) => openapi::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Contract(options) => contract::run(&options),
        Command::Corrupt => corrupt::run(),
        Command::Faults(options) => faults::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Test(options) => test::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
