//! `gradient-server`: the REST API, the binary cache, the workers' socket and the scheduler, on SQLite and a directory unless it
//! is told otherwise.

mod arguments;
mod commands;
mod directories;
mod file_limit;
mod hosted_worker;
mod leading;
mod metrics;
mod secrets;
mod start;

use std::process::ExitCode;

fn main() -> ExitCode {
    gradient_worker::main(start::run)
}
