//! Mail that the server sends. It goes out in the background, so that no request waits for a mail server, or tells by its time
//! whether there was anything to send.

mod settings;

use std::{error::Error, sync::Arc, time::Duration};

use gradient_domain::{Email, Secret};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Body, Mailbox,
        header::{ContentTransferEncoding, ContentType},
    },
    transport::smtp::authentication::Credentials,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::EngineError;

pub use settings::{MailLogin, MailSender, MailSettings, MailSettingsError, MailTls};

/// Mails that may wait, those between two attempts too. Beyond that they are not taken.
const WAITING: usize = 256;
/// Connections to the mail server at the same time.
const SENDING: usize = 4;
/// The longest line that a mail may have, with its end (RFC 5322).
const MAX_LINE: usize = 998;
/// How long each step of a conversation with the mail server may take.
const STEP: Duration = Duration::from_secs(20);
/// How long a whole attempt may take.
const ATTEMPT: Duration = Duration::from_mins(1);
/// How long to wait after each attempt that failed, but might not again.
const PAUSES: [Duration; 4] = [Duration::from_secs(2), Duration::from_secs(30), Duration::from_mins(5), Duration::from_mins(20)];

/// A mail to one address.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) to: Email,
    pub(crate) subject: &'static str,
    pub(crate) text: Secret<String>,
}

/// Sends mails to the mail server of the settings.
#[derive(Debug)]
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    waiting: Arc<Semaphore>,
    sending: Semaphore,
}

impl Mailer {
    pub(crate) fn new(settings: &MailSettings) -> Result<Self, EngineError> {
        let host = &settings.host;
        let transport = match settings.tls {
            MailTls::Starttls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host),
            MailTls::Implicit => AsyncSmtpTransport::<Tokio1Executor>::relay(host),
            MailTls::None => Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)),
        };
        let mut transport = transport.map_err(EngineError::Mail)?.timeout(Some(STEP));
        if let Some(port) = settings.port {
            transport = transport.port(port);
        }
        if let Some(login) = &settings.login {
            let password = login.password.expose().clone();
            transport = transport.credentials(Credentials::new(login.username.clone(), password));
        }
        Ok(Self {
            transport: transport.build(),
            from: settings.from.mailbox().clone(),
            waiting: Arc::new(Semaphore::new(WAITING)),
            sending: Semaphore::new(SENDING),
        })
    }

    /// A place for a mail to wait at, when there is one. `Busy` when there is none.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, EngineError> {
        Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| EngineError::Busy)
    }

    /// Sends a mail, and tries again while it may help.
    pub(crate) async fn deliver(&self, mail: Mail, _place: OwnedSemaphorePermit) {
        let (to, subject) = (mail.to.clone(), mail.subject);
        let message = match self.message(mail) {
            Ok(message) => message,
            Err(error) => return tracing::error!(%to, subject, error = &*error, "a mail cannot be written"),
        };
        let mut pauses = PAUSES.iter();
        loop {
            let Err(failure) = self.attempt(&message).await else {
                return tracing::info!(%to, subject, "mail sent");
            };
            let error = &*failure.error;
            match pauses.next() {
                Some(pause) if !failure.permanent => {
                    tracing::warn!(%to, subject, error, "a mail could not be sent; trying again in {} s", pause.as_secs());
                    tokio::time::sleep(*pause).await;
                }
                _ => return tracing::error!(%to, subject, error, "a mail is not sent"),
            }
        }
    }

    async fn attempt(&self, message: &Message) -> Result<(), Failure> {
        let _connection = self.sending.acquire().await;
        match tokio::time::timeout(ATTEMPT, self.transport.send(message.clone())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Failure { permanent: error.is_permanent(), error: Box::new(error) }),
            Err(late) => Err(Failure { permanent: false, error: Box::new(late) }),
        }
    }

    /// The address is one that parsed, and nothing else that a user wrote is in a header.
    fn message(&self, mail: Mail) -> Result<Message, Box<dyn Error + Send + Sync>> {
        let message = Message::builder().from(self.from.clone()).to(mail.to.as_str().parse()?).subject(mail.subject);
        // Links are longer than the lines of quoted-printable, and would be torn for whoever reads mail as it came.
        let text = mail.text.into_inner();
        let goes_as_it_is = text.is_ascii() && text.lines().all(|line| line.len() < MAX_LINE);
        let body = if goes_as_it_is {
            Body::dangerous_pre_encoded(text.replace('\n', "\r\n").into_bytes(), ContentTransferEncoding::SevenBit)
        } else {
            Body::new(text)
        };
        Ok(message.header(ContentType::TEXT_PLAIN).body(body)?)
    }
}

struct Failure {
    permanent: bool,
    error: Box<dyn Error + Send + Sync>,
}
