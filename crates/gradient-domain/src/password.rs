//! What a new password must be.

use std::str::FromStr;

use thiserror::Error;

use crate::Secret;

/// A password that somebody may choose. What is typed in at a login is no `Password`: older ones may follow older rules.
#[derive(Debug, Clone)]
pub struct Password(Secret<String>);

/// The rule that a password breaks. The first one that it breaks is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// Fewer than 8 or more than 128 characters.
    #[error("the password must have 8 to 128 characters")]
    Length,
    /// No upper case letter.
    #[error("the password must have an upper case letter")]
    NoUpperCase,
    /// No lower case letter.
    #[error("the password must have a lower case letter")]
    NoLowerCase,
    /// No digit.
    #[error("the password must have a digit")]
    NoDigit,
    /// Only letters, digits and white space.
    #[error("the password must have a punctuation character")]
    NoPunctuation,
    /// The word itself.
    #[error("the password must not contain the word \"password\"")]
    SaysPassword,
    /// Such as `abcd` or `1234`.
    #[error("the password must not have four ascending characters in a row, such as `1234`")]
    Ascending,
    /// Such as `aaa`.
    #[error("the password must not have the same character three times in a row")]
    Repeated,
}

impl Password {
    /// The password, for the one place that hashes it.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The password as a bare secret.
    pub fn into_secret(self) -> Secret<String> {
        self.0
    }
}

impl FromStr for Password {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Self, PasswordError> {
        let characters: Vec<char> = text.chars().take(129).collect();
        let lacks = |kind: fn(char) -> bool| !characters.iter().copied().any(kind);
        let ascends = |run: &[char]| run.windows(2).all(|pair| matches!(pair, &[a, b] if u32::from(a) + 1 == u32::from(b)));
        let repeats = |run: &[char]| run.windows(2).all(|pair| matches!(pair, [a, b] if a == b));

        if !(8..=128).contains(&characters.len()) {
            Err(PasswordError::Length)
        } else if lacks(char::is_uppercase) {
            Err(PasswordError::NoUpperCase)
        } else if lacks(char::is_lowercase) {
            Err(PasswordError::NoLowerCase)
        } else if lacks(|c| c.is_ascii_digit()) {
            Err(PasswordError::NoDigit)
        } else if lacks(|c| !c.is_alphanumeric() && !c.is_whitespace() && !c.is_control()) {
            Err(PasswordError::NoPunctuation)
        } else if text.to_lowercase().contains("password") {
            Err(PasswordError::SaysPassword)
        } else if characters.windows(4).any(ascends) {
            Err(PasswordError::Ascending)
        } else if characters.windows(3).any(repeats) {
            Err(PasswordError::Repeated)
        } else {
            Ok(Self(Secret::new(text.to_owned())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), PasswordError>) {
        assert_eq!(text.parse::<Password>().map(drop), expected, "{text:?}");
    }

    #[test]
    fn each_rule_has_its_error() {
        check("Correct-Horse-7", Ok(()));
        check("Äß9!häää".replace("ää", "ä").as_str(), Err(PasswordError::Length));
        check("Äußer!9x", Ok(()));
        check("Ab1!", Err(PasswordError::Length));
        check(&"Ab1!".repeat(32), Ok(()));
        check(&format!("{}x", "Ab1!".repeat(32)), Err(PasswordError::Length));
        check("lower-case-1", Err(PasswordError::NoUpperCase));
        check("UPPER-CASE-1", Err(PasswordError::NoLowerCase));
        check("No-digit-here", Err(PasswordError::NoDigit));
        check("NoPunctuation 1", Err(PasswordError::NoPunctuation));
        check("My-PassWord-1", Err(PasswordError::SaysPassword));
        check("Count-1234", Err(PasswordError::Ascending));
        check("Count-123-x", Ok(()));
        check("Letters-1-wxyz", Err(PasswordError::Ascending));
        check("Thrice-1-aaa", Err(PasswordError::Repeated));
        check("Twice-1-aab", Ok(()));
    }

    #[test]
    fn it_is_never_printed() {
        let password: Password = "Correct-Horse-7".parse().unwrap();
        assert!(!format!("{password:?}").contains("Horse"));
        assert_eq!(password.expose(), "Correct-Horse-7");
    }
}
