//! `gradient-worker`: fetches, evaluates and builds for a Gradient server with the machine's own Nix.

use std::process::ExitCode;

use gradient_worker::{Invocation, WrongSetting, parse, run};

fn main() -> ExitCode {
    let arguments = match parse() {
        Invocation::Run(arguments) => arguments,
        Invocation::Print(text) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Invocation::Wrong(sentence) => return wrong_setting(&sentence),
    };
    match run(*arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(wrong) = error.downcast_ref::<WrongSetting>() {
                return wrong_setting(&wrong.to_string());
            }
            eprintln!("gradient-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One sentence that names the setting and what is expected; the code that says "it was called wrongly".
fn wrong_setting(sentence: &str) -> ExitCode {
    eprintln!("gradient-worker: {sentence}");
    ExitCode::from(2)
}
