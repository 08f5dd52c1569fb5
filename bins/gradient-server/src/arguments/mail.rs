//! The settings of mail.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use gradient_engine::{MailLogin, MailSender, MailSettings, MailTls};
use gradient_worker::WrongSetting;

use super::secret::{self, SecretText};

#[derive(Debug, Args)]
#[command(next_help_heading = "Mail")]
pub(crate) struct MailArguments {
    /// The mail server; without one no mail is sent.
    #[arg(long, env = "GRADIENT_SMTP_HOST", value_name = "HOST")]
    smtp_host: Option<String>,

    /// The port of the mail server [default: 587 with starttls, 465 with tls, 25 with none].
    #[arg(long, env = "GRADIENT_SMTP_PORT", value_name = "PORT")]
    smtp_port: Option<u16>,

    /// How the connection to the mail server is protected: starttls, tls (from the first byte), or none, which is for a mail
    /// server on the same machine. The mail server needs a certificate that this system trusts.
    #[arg(long, env = "GRADIENT_SMTP_TLS", value_name = "TLS", default_value = "starttls")]
    smtp_tls: MailTls,

    /// The name to sign in with at the mail server, if it wants one.
    #[arg(long, env = "GRADIENT_SMTP_USERNAME", value_name = "NAME")]
    smtp_username: Option<String>,

    /// The password to sign in with at the mail server.
    #[arg(
        long,
        env = "GRADIENT_SMTP_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true,
        conflicts_with = "smtp_password_file"
    )]
    smtp_password: Option<SecretText>,

    /// A file that holds the password of the mail server.
    #[arg(long, env = "GRADIENT_SMTP_PASSWORD_FILE", value_name = "FILE")]
    smtp_password_file: Option<PathBuf>,

    /// Whom mails are from, such as ci@example.com or Gradient <ci@example.com>.
    #[arg(long, env = "GRADIENT_SMTP_FROM", value_name = "ADDRESS")]
    smtp_from: Option<MailSender>,

    /// Whether people who register have to open a link that is mailed to them before they can sign in, and have a new address
    /// only once they did. Users who are there already, the first superuser and those made by `user create` need not.
    #[arg(long, env = "GRADIENT_REQUIRE_EMAIL_VERIFICATION", value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    pub(crate) require_email_verification: bool,
}

impl MailArguments {
    /// The mail server, if there is one.
    pub(crate) fn settings(&self) -> Result<Option<MailSettings>, WrongSetting> {
        let Some(host) = &self.smtp_host else {
            return if self.require_email_verification {
                let wrong = "is true, but no mail can be sent: set GRADIENT_SMTP_HOST and GRADIENT_SMTP_FROM too";
                Err(WrongSetting::new("GRADIENT_REQUIRE_EMAIL_VERIFICATION", wrong))
            } else {
                Ok(None)
            };
        };
        let from = self.smtp_from.clone().ok_or_else(|| {
            let wrong = "is not set: expected the address that mails are from, such as ci@example.com";
            WrongSetting::new("GRADIENT_SMTP_FROM", wrong)
        })?;
        Ok(Some(MailSettings { host: host.clone(), port: self.smtp_port, tls: self.smtp_tls, login: self.login()?, from }))
    }

    fn login(&self) -> Result<Option<MailLogin>, WrongSetting> {
        let file = ("GRADIENT_SMTP_PASSWORD_FILE", self.smtp_password_file.as_deref());
        match (&self.smtp_username, secret::read(self.smtp_password.as_ref(), file)?) {
            (Some(username), Some(password)) => Ok(Some(MailLogin { username: username.clone(), password })),
            (None, None) => Ok(None),
            (Some(_), None) => {
                let wrong = "is set, but there is no password: set GRADIENT_SMTP_PASSWORD_FILE too";
                Err(WrongSetting::new("GRADIENT_SMTP_USERNAME", wrong))
            }
            (None, Some(_)) => {
                Err(WrongSetting::new("GRADIENT_SMTP_USERNAME", "is not set, but there is a password of the mail server"))
            }
        }
    }
}
