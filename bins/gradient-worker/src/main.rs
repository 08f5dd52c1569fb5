//! `gradient-worker`: fetches, evaluates and builds for a Gradient server with the machine's own Nix.

use std::process::ExitCode;

fn main() -> ExitCode {
    gradient_worker::main(gradient_worker::run)
}
