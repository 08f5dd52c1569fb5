//! Passwords that the subcommands take: never from an argument, for everybody on the machine sees those.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    path::PathBuf,
};

use clap::Args;
use gradient_domain::{Password, Secret};
use gradient_worker::WrongSetting;

/// More than any password has.
const MAX_BYTES: u64 = 4096;

/// Where a password comes from.
#[derive(Debug, Args)]
pub(crate) struct PasswordSource {
    /// A file whose first line is the password [default: standard input].
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordSource {
    /// The first line, which has to be a password that may be chosen.
    pub(crate) fn read(&self) -> Result<Password, WrongSetting> {
        let wrong = |wrong: &str| WrongSetting::new("--password-file", wrong);
        let (line, from) = match &self.password_file {
            Some(path) => {
                (File::open(path).and_then(|file| first_line(BufReader::new(file))), format!("names {}", path.display()))
            }
            None => (ask(), "is not given, so that standard input counts".to_owned()),
        };
        let line = line.map_err(|error| wrong(&format!("{from}, which cannot be read: {error}")))?;
        line.expose().parse().map_err(|error| wrong(&format!("{from}, but {error}")))
    }
}

fn ask() -> io::Result<Secret<String>> {
    if io::stdin().is_terminal() {
        eprint!("the new password (it shows): ");
    }
    first_line(io::stdin().lock())
}

fn first_line(from: impl BufRead) -> io::Result<Secret<String>> {
    let mut line = String::new();
    from.take(MAX_BYTES).read_line(&mut line)?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
