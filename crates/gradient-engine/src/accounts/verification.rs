//! Proof that mail to a user's address is read.
//!
//! Whoever registers signs in once the address is proven. Whoever wants another address keeps the old one until the new one is
//! proven, so that a slip of the pen locks nobody out. The server keeps the hash of a token, and the token is only in the mail.
//!
//! An address that nobody proved is not held for long: after two days its account is removed (`reaper.rs`), and whoever comes from
//! the OpenID provider with a proof of it takes it at once.

use std::time::Duration;

use gradient_auth::{EmailToken, SecretHash};
use gradient_domain::{Email, Moment, Secret, UserId, Username};
use gradient_storage::{
    Conn, Digest,
    email_verifications::{self, EmailVerification},
    users,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{User, UserChanges};
use crate::{Engine, EngineError, mail::Mail};

/// How long a token is good for.
const LIFETIME: Duration = Duration::from_hours(24);

/// A user whose address is to be proven, and the mail about it.
struct Asked {
    verification: EmailVerification,
    token: EmailToken,
}

impl Asked {
    fn new(user: UserId, email: Email) -> Self {
        let (token, now) = (EmailToken::generate(&mut rand::rng()), Moment::now());
        let token_hash = Digest(*token.hash().as_bytes());
        let expires_at = now.plus(LIFETIME);
        Self { verification: EmailVerification { user, email, token_hash, created_at: now, expires_at }, token }
    }
}

/// Where no mail ever goes: the addresses of accounts that gave theirs up.
const NOWHERE: &str = "@unverified.invalid";

fn is_placeholder(email: &Email) -> bool {
    email.as_str().ends_with(NOWHERE)
}

/// Takes an address from an account that never proved it, for somebody who has. The account goes when it is nobody anywhere; another
/// one keeps all that it has and an address that leads nowhere, so that it still has to be proven and nobody can.
pub(super) async fn give_up_address(conn: &mut Conn, holder: &User) -> Result<(), EngineError> {
    if users::delete_if_unproven(conn, holder.id).await? {
        return Ok(());
    }
    let nowhere = format!("{}{NOWHERE}", holder.id.uuid());
    let email = nowhere.parse::<Email>().map_err(|_| EngineError::Damaged(format!("{nowhere} is no address")))?;
    users::set(conn, holder.id, &UserChanges { email: Some(email), ..UserChanges::default() }).await?;
    Ok(email_verifications::delete(conn, holder.id).await?)
}

impl Engine {
    /// Whether addresses have to be proven.
    pub fn verifies_email(&self) -> bool {
        self.settings().require_email_verification && self.mailer().is_some()
    }

    /// Takes a token out of a mail: its address is proven, and is its user's from now on. The token is used up.
    pub async fn verify_email(&self, token: &str) -> Result<Email, EngineError> {
        self.expect_verification()?;
        let (hash, now) = (Digest(*SecretHash::of(token.as_bytes()).as_bytes()), Moment::now());
        let verify = async move |conn: &mut Conn| {
            let asked = email_verifications::take(conn, hash).await?.filter(|asked| now < asked.expires_at);
            let asked = asked.ok_or(EngineError::UnknownEmailToken)?;
            let email = Some(asked.email.clone());
            let changes = UserChanges { email, email_verified: Some(true), ..UserChanges::default() };
            users::set(conn, asked.user, &changes).await?;
            Ok(asked.email)
        };
        self.storage().try_transaction(verify).await
    }

    /// Sends a user another mail, when there is something to prove and the last mail is not from a moment ago. Nobody can tell by
    /// answer or time: all of it happens in the background.
    pub fn resend_verification(&self, username: &str) -> Result<(), EngineError> {
        self.expect_verification()?;
        let Ok(username) = username.parse::<Username>() else { return Ok(()) };
        let Some(mailer) = self.mailer() else { return Ok(()) };
        let (engine, place) = (self.clone(), mailer.place()?);
        tokio::spawn(async move {
            if let Err(error) = engine.send_again(username, place).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot send a verification mail again");
            }
        });
        Ok(())
    }

    async fn send_again(&self, username: Username, place: OwnedSemaphorePermit) -> Result<(), EngineError> {
        let pause = self.settings().email_pause;
        let ask = async move |conn: &mut Conn| {
            let Some(asking) = users::lookup_by_username(conn, username.as_str()).await? else { return Ok(None) };
            let last = email_verifications::lookup(conn, asking.id).await?;
            // Read after the verification: a proof that comes in between deletes the one and is seen in the other.
            let user = users::find(conn, asking.id).await?;
            if last.as_ref().is_some_and(|last| Moment::now().since(last.created_at) < pause) {
                return Ok(None);
            }
            let email = last.map(|last| last.email).or((!user.email_verified).then_some(user.email));
            let Some(email) = email else { return Ok(None) };
            if is_placeholder(&email) {
                return Ok(None);
            }
            let asked = Asked::new(user.id, email);
            // Anybody can ask for this, so the links before stay good.
            email_verifications::insert(conn, &asked.verification).await?;
            Ok(Some((user.username, asked)))
        };
        if let Some((username, asked)) = self.storage().transaction(ask).await? {
            self.send(&username, asked, place);
        }
        Ok(())
    }

    /// Asks a user who is new for a proof of the address.
    pub(super) async fn ask_new_user(&self, user: &User) -> Result<(), EngineError> {
        let Some(mailer) = self.mailer() else { return Ok(()) };
        let asked = Asked::new(user.id, user.email.clone());
        let verification = asked.verification.clone();
        self.storage().write(async move |conn: &mut Conn| email_verifications::insert(conn, &verification).await).await?;
        if let Ok(place) = mailer.place() {
            self.send(&user.username, asked, place);
        } else {
            // The user is there, and can ask for another one.
            tracing::warn!(user = %user.id, "too many mails wait: no verification mail is sent");
        }
        Ok(())
    }

    /// Takes a new address out of `changes` and asks for a proof of it, where that is needed. The address is the user's after that.
    pub(super) async fn ask_before_change(&self, id: UserId, changes: &mut UserChanges) -> Result<(), EngineError> {
        let Some(mailer) = self.mailer().filter(|_| self.verifies_email()) else { return Ok(()) };
        let Some(email) = changes.email.take() else { return Ok(()) };
        let (place, pause) = (mailer.place()?, self.settings().email_pause);
        let ask = async move |conn: &mut Conn| {
            let user = users::find(conn, id).await?;
            if user.email == email {
                // Back to what it was.
                email_verifications::delete(conn, id).await?;
                return Ok(None);
            }
            let holder = users::lookup_by_login(conn, email.as_str()).await?;
            if holder.is_some_and(|holder| holder.id != id) {
                return Err(EngineError::AlreadyExists { what: "user with the address", name: email.to_string() });
            }
            let last = email_verifications::lookup(conn, id).await?;
            if last.is_some_and(|last| Moment::now().since(last.created_at) < pause) {
                let why = "a mail about an address of yours was sent a moment ago; try again in a minute";
                return Err(EngineError::Conflict(why.to_owned()));
            }
            let asked = Asked::new(id, email);
            email_verifications::replace(conn, &asked.verification).await?;
            Ok(Some((user.username, asked)))
        };
        if let Some((username, asked)) = self.storage().try_transaction(ask).await? {
            self.send(&username, asked, place);
        }
        Ok(())
    }

    /// The address that becomes the user's once it is proven.
    pub async fn pending_email(&self, user: &User) -> Result<Option<Email>, EngineError> {
        let id = user.id;
        let asked = self.storage().read(async move |conn: &mut Conn| email_verifications::lookup(conn, id).await).await?;
        let asked = asked.filter(|asked| Moment::now() < asked.expires_at && asked.email != user.email);
        Ok(asked.map(|asked| asked.email))
    }

    fn expect_verification(&self) -> Result<(), EngineError> {
        if self.verifies_email() { Ok(()) } else { Err(EngineError::VerificationDisabled) }
    }

    fn send(&self, username: &Username, asked: Asked, place: OwnedSemaphorePermit) {
        let mail = self.verification_mail(username, asked);
        let engine = self.clone();
        tokio::spawn(async move {
            let Some(mailer) = engine.mailer() else { return };
            tokio::select! {
                () = engine.stopped() => {}
                () = mailer.deliver(mail, place) => {}
            }
        });
    }

    fn verification_mail(&self, username: &Username, asked: Asked) -> Mail {
        let Asked { verification: EmailVerification { email, .. }, token } = asked;
        let serve_url = &self.settings().serve_url;
        let page = match &self.settings().frontend_url {
            Some(frontend) => format!("{}/verify-email", frontend.trim_end_matches('/')),
            None => format!("{serve_url}/api/v1/auth/verify-email"),
        };
        let text = format!(
            "Hello {username},\n\n\
             open this link within 24 hours to confirm that {email} is your address at {serve_url}:\n\n\
             {page}?token={}\n\n\
             If you did not ask for this, do nothing.\n",
            token.expose()
        );
        Mail { to: email, subject: "Confirm your email address", text: Secret::new(text) }
    }
}
