//! `gradient-server`: the REST API, the binary cache, the workers' socket and the scheduler, on SQLite and a directory unless it
//! is told otherwise.

mod arguments;
mod directories;
mod hosted_worker;
mod secrets;
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
        Err(error) => match error.downcast_ref::<gradient_worker::WrongSetting>() {
            Some(wrong) => wrong_setting(&wrong.to_string()),
            None => {
                eprintln!("gradient-server: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

/// One sentence that names the setting and what is expected; the code that says "it was called wrongly".
fn wrong_setting(sentence: &str) -> ExitCode {
    eprintln!("gradient-server: {sentence}");
    ExitCode::from(2)
}
