//! Secrets that are a setting, or in a file that a setting names.

use std::{convert::Infallible, fs, path::Path, str::FromStr};

use gradient_domain::Secret;
use gradient_worker::WrongSetting;

/// A secret as a setting has it.
#[derive(Debug, Clone)]
pub(crate) struct SecretText(Secret<String>);

impl FromStr for SecretText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Secret::new(text.to_owned())))
    }
}

/// The secret itself, or what is in the file, without the end of the line. An empty one is none.
pub(crate) fn read(
    text: Option<&SecretText>,
    (setting, file): (&'static str, Option<&Path>),
) -> Result<Option<Secret<String>>, WrongSetting> {
    let secret = match (text, file) {
        (Some(text), _) => text.0.clone(),
        (None, Some(file)) => {
            let read = fs::read_to_string(file).map_err(|error| {
                WrongSetting::new(setting, &format!("names {}, which cannot be read: {error}", file.display()))
            })?;
            Secret::new(read.trim_end_matches(['\r', '\n']).to_owned())
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(secret).filter(|secret| !secret.expose().is_empty()))
}
