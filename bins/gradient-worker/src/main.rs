//! `gradient-worker`: fetches, evaluates and builds for a Gradient server with the machine's own Nix.

mod arguments;
mod directories;
mod shutdown;
mod start;

use std::process::ExitCode;

use arguments::Invocation;

fn main() -> ExitCode {
    let arguments = match arguments::parse() {
        Invocation::Run(arguments) => arguments,
        Invocation::Print(text) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Invocation::Wrong(sentence) => return wrong_setting(&sentence),
    };
    match start::run(*arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(wrong) = error.downcast_ref::<start::WrongSetting>() {
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
