use std::error::Error;

use thiserror::Error;

/// Why somebody could not sign in at the provider.
#[derive(Debug, Error)]
pub enum OidcError {
    /// The browser did not begin this sign-in, began another one since, or took too long.
    #[error("this sign-in was not begun in this browser, or more than 10 minutes ago: begin again")]
    UnknownAttempt,
    /// The provider let nobody in; with its word for why.
    #[error("the OpenID provider refused: {0}")]
    Refused(String),
    /// The provider does not take the code: it is used up, too old, or no code.
    #[error("the OpenID provider does not accept the code: begin again")]
    BadCode,
    /// What the provider says of the user cannot be believed.
    #[error("the OpenID provider's answer is not valid: {0}")]
    BadToken(String),
    /// The provider does not answer.
    #[error("the OpenID provider does not answer")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// The provider answers, but not as one, or it does not know this server.
    #[error("the OpenID provider or its settings are wrong: {0}")]
    Misconfigured(String),
}
