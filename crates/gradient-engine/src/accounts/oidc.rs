//! Signing in at an OpenID provider.
//!
//! The provider decides who gets an account here: `enable_registration` is about those who choose a password. A user is known by
//! the provider and its subject. An address that somebody else has here is no way into that account: whoever could set an address
//! at the provider could take it over. Only an address that its holder never proved is given up, and the account is not.

mod http;
mod provider;

use std::time::Duration;

use gradient_auth::oidc::{self, OidcError, ProviderAnswer, SignInAttempt};
use gradient_domain::{DisplayName, Email, Moment, Secret, UserId};
use gradient_storage::{
    Conn, StorageError,
    oidc_identities::{self, OidcIdentity},
    users,
};
use rand::RngExt;

use super::{Login, Remember, User, UserChanges, verification::give_up_address};
use crate::{Engine, EngineError};

pub(crate) use provider::ProviderSlot;

/// A sign-in that was begun.
#[derive(Debug)]
pub struct BegunSignIn {
    /// Where the browser goes.
    pub url: String,
    /// What it keeps until it is back.
    pub kept: Secret<String>,
    /// How long it may take.
    pub lifetime: Duration,
}

impl Engine {
    /// Begins to sign in at the provider.
    pub async fn begin_oidc(&self) -> Result<BegunSignIn, EngineError> {
        let provider = self.provider()?.get(&self.redirect_url()).await?;
        let (url, attempt) = provider.begin(Moment::now(), &mut rand::rng());
        let kept = Secret::new(attempt.seal(self.sealer(), &mut rand::rng())?);
        Ok(BegunSignIn { url, kept, lifetime: SignInAttempt::lifetime() })
    }

    /// Signs in whom the provider sent back with an answer, to the browser that kept `kept`. Who is new gets an account.
    pub async fn finish_oidc(&self, kept: Option<&str>, answer: ProviderAnswer) -> Result<Login, EngineError> {
        let slot = self.provider()?;
        let (kept, now) = (kept.ok_or(OidcError::UnknownAttempt)?, Moment::now());
        let attempt = SignInAttempt::open(kept, &answer.state, self.sealer(), now)?;
        let code = answer.code()?;
        let provider = slot.get(&self.redirect_url()).await?;
        let identity = provider.redeem(code, &attempt, now, &slot.http()).await?;
        let user = self.user_of(identity).await?;
        if self.verifies_email() && !user.email_verified {
            return Err(EngineError::EmailUnverified);
        }
        self.begin_session(user.id, Remember::Day).await
    }

    fn provider(&self) -> Result<&ProviderSlot, EngineError> {
        self.oidc().ok_or(EngineError::OauthDisabled)
    }

    fn redirect_url(&self) -> String {
        format!("{}/api/v1/auth/oidc/callback", self.settings().serve_url)
    }

    async fn user_of(&self, identity: oidc::OidcIdentity) -> Result<User, EngineError> {
        let found = match self.known_or_new(&identity).await {
            // Somebody who clicks twice comes twice at the same time: the second time the user is known.
            Err(EngineError::Storage(StorageError::AlreadyExists { .. })) => self.known_or_new(&identity).await,
            found => found,
        }?;
        match found {
            (user, Origin::New) if !user.email_verified => {
                self.ask_new_user(&user).await?;
                Ok(user)
            }
            (user, _) => Ok(user),
        }
    }

    async fn known_or_new(&self, identity: &oidc::OidcIdentity) -> Result<(User, Origin), EngineError> {
        let verifies = self.verifies_email();
        let (identity, random) = (identity.clone(), rand::rng().random_range(1000..10_000_000));
        let find = async move |conn: &mut Conn| {
            if let Some(user) = oidc_identities::lookup_user(conn, &identity.issuer, &identity.subject).await? {
                return Ok((proven_elsewhere(conn, user, &identity).await?, Origin::Known));
            }
            let email = identity.email.clone().ok_or(EngineError::NoEmailFromProvider)?;
            if let Some(holder) = users::lookup_by_login(conn, email.as_str()).await? {
                // Whoever registered with an address that is not theirs, and never saw the mail, does not lock its owner out.
                if !verifies || holder.email_verified || !identity.email_verified {
                    return Err(EngineError::AlreadyExists { what: "user with the address", name: email.to_string() });
                }
                give_up_address(conn, &holder).await?;
            }
            let user = new_user(conn, &identity, email, random).await?;
            let user = User { email_verified: user.email_verified || !verifies, ..user };
            users::insert(conn, &user).await?;
            let oidc::OidcIdentity { issuer, subject, .. } = identity;
            let row = OidcIdentity { issuer, subject, user: user.id, created_at: user.created_at };
            oidc_identities::insert(conn, &row).await?;
            Ok((user, Origin::New))
        };
        self.storage().try_transaction(find).await
    }
}

/// Whether a user was here before.
enum Origin {
    Known,
    New,
}

/// A known user whose address the provider has seen a proof of by now.
async fn proven_elsewhere(conn: &mut Conn, user: User, identity: &oidc::OidcIdentity) -> Result<User, EngineError> {
    if user.email_verified || !identity.email_verified || identity.email.as_ref() != Some(&user.email) {
        return Ok(user);
    }
    users::set(conn, user.id, &UserChanges { email_verified: Some(true), ..UserChanges::default() }).await?;
    Ok(User { email_verified: true, ..user })
}

/// Somebody who was never here; the provider may have seen a proof of the address.
async fn new_user(conn: &mut Conn, identity: &oidc::OidcIdentity, email: Email, random: u32) -> Result<User, EngineError> {
    let mut username = None;
    for candidate in oidc::usernames(identity, random) {
        if users::lookup_by_username(conn, candidate.as_str()).await?.is_none() {
            username = Some(candidate);
            break;
        }
    }
    let username = username.ok_or_else(|| EngineError::Conflict("there is no free username like yours".to_owned()))?;
    let name = identity.name.as_deref().and_then(|name| name.parse::<DisplayName>().ok());
    let name = name.or_else(|| username.as_str().parse().ok());
    Ok(User {
        id: UserId::new(),
        name: name.ok_or_else(|| EngineError::Damaged(format!("{username} is no display name")))?,
        username,
        email,
        password_hash: None,
        superuser: false,
        created_at: Moment::now(),
        email_verified: identity.email_verified,
    })
}
