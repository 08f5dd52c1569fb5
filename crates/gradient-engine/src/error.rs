//! What can go wrong in a use case, as far as a caller can tell it apart.

use gradient_auth::{JwtError, PasswordHashError, SealError, oidc::OidcError};
use gradient_blobs::BlobError;
use gradient_cache_protocol::ingest::IngestError;
use gradient_forge::ForgeError;
use gradient_storage::StorageError;
use thiserror::Error;

use crate::{Exhausted, derivations::DerivationRefusal, publish::OutputRefusal};

/// Why a use case did not do what it was asked.
#[derive(Debug, Error)]
pub enum EngineError {
    /// What it is about is not there.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// What it was asked by.
        name: String,
    },
    /// The name is taken.
    #[error("the {what} `{name}` exists already")]
    AlreadyExists {
        /// The kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// It does not go together with the state of things.
    #[error("{0}")]
    Conflict(String),
    /// A value that was given is not one that is taken.
    #[error("{field}: {message}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What is expected.
        message: String,
    },
    /// Nobody may register.
    #[error("registration is disabled on this server")]
    RegistrationDisabled,
    /// The login name or the password is wrong.
    #[error("the login name or the password is wrong")]
    InvalidCredentials,
    /// Passwords are not taken here.
    #[error("sign in at the OpenID provider: this server takes no passwords")]
    OauthRequired,
    /// There is no OpenID provider.
    #[error("this server has no OpenID provider")]
    OauthDisabled,
    /// Somebody could not sign in at the OpenID provider.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// The OpenID provider knows somebody without an address.
    #[error("the OpenID provider tells no valid email address of you, without which there can be no account")]
    NoEmailFromProvider,
    /// The address is still to be proven.
    #[error("your email address is not verified yet: open the link in the mail, or ask for another one")]
    EmailUnverified,
    /// Addresses are not proven here.
    #[error("this server does not verify email addresses")]
    VerificationDisabled,
    /// Not a token of a mail, or not one any more.
    #[error("the verification link is used up, too old or not complete; ask for another mail")]
    UnknownEmailToken,
    /// The token is not one, or not one any more.
    #[error("the token is not valid")]
    Unauthorized,
    /// It may not be done, whatever the permissions are.
    #[error("{0}")]
    Forbidden(String),
    /// The repository cannot be reached, or does not have the commit.
    #[error(transparent)]
    Repository(#[from] ForgeError),
    /// An evaluation's derivation is not believed.
    #[error(transparent)]
    Derivation(#[from] DerivationRefusal),
    /// A build's outputs are not believed.
    #[error(transparent)]
    Outputs(#[from] OutputRefusal),
    /// An uploaded NAR is not what it is said to be, or not one that is taken.
    #[error(transparent)]
    Upload(#[from] IngestError),
    /// A build's inputs are not all there.
    #[error("{0}")]
    InputsMissing(String),
    /// A job cannot be handed out.
    #[error("the job cannot be handed out: {0}")]
    Task(String),
    /// Something stored cannot be read back.
    #[error("{0}")]
    Damaged(String),
    /// Compression or decompression failed.
    #[error("cannot compress or decompress")]
    Compression(#[source] std::io::Error),
    /// More was sent than is taken.
    #[error("{0}")]
    TooLarge(String),
    /// What is on its way to the store cannot be written or read back.
    #[error("cannot write or read what was sent")]
    Spool(#[source] std::io::Error),
    /// A password could not be hashed, or too many are waiting.
    #[error(transparent)]
    PasswordHash(#[from] PasswordHashError),
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store of blobs failed.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// Mail cannot be sent with these settings.
    #[error("cannot send mail with these settings")]
    Mail(#[source] lettre::transport::smtp::Error),
    /// Requests cannot be sent.
    #[error("cannot send requests")]
    HttpClient(#[source] reqwest::Error),
    /// An upstream of a cache does not give what it says that it has.
    #[error("the upstream does not give it: {0}; try again in a moment")]
    Upstream(String),
    /// As many do it at the same time as may.
    #[error("the server is busy, try again in a moment")]
    Busy,
    /// The server is going down.
    #[error("the server is going down")]
    Stopping,
}

impl From<Exhausted> for EngineError {
    fn from(Exhausted: Exhausted) -> Self {
        Self::Busy
    }
}

impl From<JwtError> for EngineError {
    /// Whatever is wrong with a token, its bearer is nobody.
    fn from(error: JwtError) -> Self {
        match error {
            JwtError::Signing => Self::Damaged(error.to_string()),
            JwtError::Invalid | JwtError::Expired => Self::Unauthorized,
        }
    }
}
