use std::str::FromStr;

use gradient_domain::Secret;
use lettre::message::Mailbox;
use thiserror::Error;

/// Which mail server to send by, and as whom.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// The mail server.
    pub host: String,
    /// Its port, unless it is the usual one.
    pub port: Option<u16>,
    /// How the connection is protected.
    pub tls: MailTls,
    /// Who this server is there.
    pub login: Option<MailLogin>,
    /// Whom its mails are from.
    pub from: MailSender,
}

/// Name and password at the mail server.
#[derive(Debug, Clone)]
pub struct MailLogin {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret<String>,
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// By STARTTLS, without which nothing is sent; usually at port 587.
    Starttls,
    /// By TLS from the first byte; usually at port 465.
    Implicit,
    /// Not at all; usually at port 25. For a mail server on the same machine.
    None,
}

/// Whom mails are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailSender(Mailbox);

/// A text that is no setting of mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MailSettingsError {
    /// Not a way to protect a connection.
    #[error("expected starttls, tls or none")]
    Tls,
    /// Not an address.
    #[error("expected an address, such as ci@example.com or Gradient <ci@example.com>")]
    Sender,
}

impl FromStr for MailTls {
    type Err = MailSettingsError;

    fn from_str(text: &str) -> Result<Self, MailSettingsError> {
        match text {
            "starttls" => Ok(Self::Starttls),
            "tls" => Ok(Self::Implicit),
            "none" => Ok(Self::None),
            _ => Err(MailSettingsError::Tls),
        }
    }
}

impl FromStr for MailSender {
    type Err = MailSettingsError;

    fn from_str(text: &str) -> Result<Self, MailSettingsError> {
        text.parse().map(Self).map_err(|_| MailSettingsError::Sender)
    }
}

impl MailSender {
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        assert!("ci@example.com".parse::<MailSender>().is_ok());
        assert!("Gradient <ci@example.com>".parse::<MailSender>().is_ok());
        for text in ["", "ci", "ci@example.com\r\nBcc: all@example.com", "a <b"] {
            assert_eq!(text.parse::<MailSender>(), Err(MailSettingsError::Sender), "{text:?}");
        }
    }
}
