//! What both programs do around their work: read the settings, say in one sentence what is wrong with them, end with the code
//! that goes with it.

use std::{fmt, process::ExitCode};

use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// A setting that cannot be used.
#[derive(Debug)]
pub struct WrongSetting {
    setting: &'static str,
    wrong: String,
}

impl WrongSetting {
    /// Names the setting, and says what is wrong with it and what is expected.
    pub fn new(setting: &'static str, wrong: &str) -> Self {
        Self { setting, wrong: wrong.to_owned() }
    }
}

impl fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.wrong)
    }
}

impl std::error::Error for WrongSetting {}

/// The whole of `main`: 0 when `run` went well, 2 with one sentence when a setting is wrong, 1 when anything else failed.
pub fn main<A: Parser>(run: impl FnOnce(A) -> anyhow::Result<()>) -> ExitCode {
    let arguments = match A::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            print!("{}", error.render());
            return ExitCode::SUCCESS;
        }
        Err(error) => return failed::<A>(&sentence::<A>(&error), 2),
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<WrongSetting>() => failed::<A>(&error.to_string(), 2),
        Err(error) => failed::<A>(&format!("{error:#}"), 1),
    }
}

fn failed<A: Parser>(sentence: &str, code: u8) -> ExitCode {
    eprintln!("{}: {sentence}", A::command().get_name());
    ExitCode::from(code)
}

/// The first paragraph of what clap says, on one line, and the variable that has the same name as the flag.
pub(crate) fn sentence<A: Parser>(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = paragraph.split_whitespace().collect();
    let sentence = words.join(" ").trim_start_matches("error: ").to_owned();
    match variable::<A>(error) {
        Some(variable) => format!("{variable}: {sentence}"),
        None => sentence,
    }
}

fn variable<A: Parser>(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    let mut command = A::command();
    // Before it is built, an argument does not know how it is shown.
    command.build();
    let argument = command.get_arguments().find(|argument| argument.to_string() == *shown)?;
    Some(argument.get_env()?.to_string_lossy().into_owned())
}
