//! The one place where what went wrong becomes a status.

use std::fmt;

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{StatusCode, header},
};
use gradient_auth::{Decision, PasswordHashError};
use gradient_cache_protocol::ingest::IngestError;
use gradient_engine::{EngineError, ForgeError, OidcError, StorageError};

use crate::envelope;

/// The stable slug of an error, for programs, with its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Code {
    AlreadyExists,
    BadRequest,
    Conflict,
    EmailUnverified,
    Forbidden,
    Internal,
    InvalidCredentials,
    InvalidEmail,
    InvalidName,
    InvalidPassword,
    InvalidUsername,
    MethodNotAllowed,
    NotFound,
    OauthDisabled,
    OauthRequired,
    PayloadTooLarge,
    RateLimited,
    RegistrationDisabled,
    RepositoryUnreachable,
    RequestTimeout,
    SuperuserRequired,
    Unauthorized,
    Unavailable,
    Validation,
}

impl Code {
    pub(crate) const fn slug(self) -> &'static str {
        match self {
            Self::AlreadyExists => "already_exists",
            Self::BadRequest | Self::MethodNotAllowed => "bad_request",
            Self::Conflict => "conflict",
            Self::EmailUnverified => "email_unverified",
            Self::Forbidden => "forbidden",
            Self::Internal => "internal",
            Self::InvalidCredentials => "invalid_credentials",
            Self::InvalidEmail => "invalid_email",
            Self::InvalidName => "invalid_name",
            Self::InvalidPassword => "invalid_password",
            Self::InvalidUsername => "invalid_username",
            Self::NotFound => "not_found",
            Self::OauthDisabled => "oauth_disabled",
            Self::OauthRequired => "oauth_required",
            Self::PayloadTooLarge => "payload_too_large",
            Self::RateLimited => "rate_limited",
            Self::RegistrationDisabled => "registration_disabled",
            Self::RepositoryUnreachable => "repository_unreachable",
            Self::RequestTimeout => "request_timeout",
            Self::SuperuserRequired => "superuser_required",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::Validation => "validation",
        }
    }

    /// One sentence about it, for the description of the API.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::AlreadyExists => "There is one with this name already.",
            Self::BadRequest | Self::MethodNotAllowed => {
                "The request cannot be understood; the message names the field and what was expected."
            }
            Self::Conflict => "The state of things does not allow it; the message says what is in the way.",
            Self::EmailUnverified => "The user's email address is not verified yet.",
            Self::Forbidden => "The caller may see the thing, but not do this with it.",
            Self::Internal => "The server failed; its log says more under the answer's `x-request-id`.",
            Self::InvalidCredentials => "The user is unknown or the password is wrong.",
            Self::InvalidEmail => "This is no email address.",
            Self::InvalidName => "A name breaks its rule, which the message tells.",
            Self::InvalidPassword => "The new password breaks a rule, which the message tells.",
            Self::InvalidUsername => "A username breaks its rule, which the message tells.",
            Self::NotFound => "There is no such thing, or the caller may not see it.",
            Self::OauthDisabled => "The server has no OIDC provider.",
            Self::OauthRequired => "The server takes no passwords: sign in at the OpenID provider.",
            Self::PayloadTooLarge => "The body is too large.",
            Self::RateLimited => "Too many requests; `Retry-After` says when to go on.",
            Self::RegistrationDisabled => "Nobody may register here.",
            Self::RepositoryUnreachable => "The repository cannot be reached; the message has git's own words.",
            Self::RequestTimeout => "The body did not come in time.",
            Self::SuperuserRequired => "Only a superuser may do this.",
            Self::Unauthorized => "No credentials, or such as are not good or not good any more.",
            Self::Unavailable => "The server cannot do this now; try again later.",
            Self::Validation => "A field's value is not one that can be; the message names the field and what was expected.",
        }
    }

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::AlreadyExists | Self::Conflict => StatusCode::CONFLICT,
            Self::BadRequest
            | Self::EmailUnverified
            | Self::InvalidEmail
            | Self::InvalidName
            | Self::InvalidPassword
            | Self::InvalidUsername
            | Self::OauthDisabled
            | Self::RegistrationDisabled
            | Self::RepositoryUnreachable
            | Self::Validation => StatusCode::BAD_REQUEST,
            Self::Forbidden | Self::SuperuserRequired => StatusCode::FORBIDDEN,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::InvalidCredentials | Self::OauthRequired | Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An error as the client sees it.
#[derive(Debug)]
pub(crate) struct ApiError {
    code: Code,
    message: String,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(Code::Unauthorized, "sign in, or send a token that is still good")
    }

    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// What is not there, and what the caller may not know of.
    pub(crate) fn hidden(what: &str) -> Self {
        Self::not_found(format!("there is no such {what}"))
    }

    /// What a decision about `what` that is no grant becomes; `needed` is the permission that it was about.
    pub(crate) fn decided(decision: Decision, what: &str, needed: &str) -> Result<(), Self> {
        match decision {
            Decision::Granted => Ok(()),
            Decision::Hidden => Err(Self::hidden(what)),
            Decision::Denied => Err(Self::new(
                Code::Forbidden,
                format!("this needs the permission {needed} for the {what}, which you do not have"),
            )),
            Decision::Anonymous => Err(Self::unauthorized()),
        }
    }

    /// Hides what went wrong inside from the client, and tells the log.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        Self::new(Code::Internal, "internal server error")
    }

    /// What is wrong with the provider, its users cannot help: the log is told.
    fn oidc(error: &OidcError) -> Self {
        let message = error.to_string();
        match error {
            OidcError::UnknownAttempt => Self::new(Code::BadRequest, message),
            OidcError::Refused(_) | OidcError::BadCode => Self::new(Code::Unauthorized, message),
            OidcError::BadToken(_) => {
                tracing::warn!(error = error as &dyn std::error::Error, "a sign-in is refused");
                Self::new(Code::Unauthorized, "the OpenID provider's answer is not valid")
            }
            OidcError::Unreachable(_) | OidcError::Misconfigured(_) => {
                tracing::warn!(error = error as &dyn std::error::Error, "the OpenID provider cannot be used");
                Self::new(Code::Unavailable, "the OpenID provider cannot be used now; try again later")
            }
        }
    }

    fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error, "a request could not be served");
        Self::new(Code::Unavailable, "the server cannot do this now; try again later")
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.code.status());
        if self.code.status() == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"gradient\""));
        }
        response.json(envelope::error(self.code.slug(), &self.message))
    }
}

impl From<EngineError> for ApiError {
    /// Exhaustive on purpose: a new way to fail has to be given its status here.
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match &error {
            EngineError::NotFound { .. } | EngineError::Storage(StorageError::NotFound { .. }) => {
                Self::new(Code::NotFound, message)
            }
            EngineError::AlreadyExists { .. } | EngineError::Storage(StorageError::AlreadyExists { .. }) => {
                Self::new(Code::AlreadyExists, message)
            }
            EngineError::Conflict(_) => Self::new(Code::Conflict, message),
            EngineError::Invalid { .. } | EngineError::Repository(ForgeError::InvalidCommit { .. }) => {
                Self::new(Code::Validation, message)
            }
            EngineError::RegistrationDisabled => Self::new(Code::RegistrationDisabled, message),
            EngineError::InvalidCredentials => Self::new(Code::InvalidCredentials, message),
            EngineError::Unauthorized => Self::unauthorized(),
            EngineError::OauthRequired => Self::new(Code::OauthRequired, message),
            EngineError::OauthDisabled => Self::new(Code::OauthDisabled, message),
            EngineError::Oidc(error) => Self::oidc(error),
            EngineError::NoEmailFromProvider => Self::new(Code::InvalidEmail, message),
            EngineError::EmailUnverified => Self::new(Code::EmailUnverified, message),
            EngineError::VerificationDisabled | EngineError::UnknownEmailToken => Self::new(Code::BadRequest, message),
            EngineError::Forbidden(_) => Self::new(Code::Forbidden, message),
            EngineError::Repository(ForgeError::Git(_)) => Self::internal(&error),
            EngineError::Repository(_) => Self::new(Code::RepositoryUnreachable, message),
            EngineError::Storage(StorageError::Unavailable(_) | StorageError::Fenced)
            | EngineError::PasswordHash(PasswordHashError::Overloaded)
            | EngineError::Spool(_)
            | EngineError::Upload(IngestError::Keep(_)) => Self::unavailable(&error),
            EngineError::TooLarge(_) | EngineError::Upload(IngestError::TooLarge { .. }) => {
                Self::new(Code::PayloadTooLarge, message)
            }
            EngineError::Upload(IngestError::Read(_)) => Self::bad_request(message),
            EngineError::Upload(_) => Self::new(Code::Validation, message),
            // An input that is on its way: the worker that sends what was made with it tries again.
            EngineError::Busy | EngineError::Stopping | EngineError::Upstream(_) | EngineError::InputsMissing(_) => {
                Self::new(Code::Unavailable, message)
            }
            EngineError::Storage(
                StorageError::BrokenReference(_)
                | StorageError::LogGap { .. }
                | StorageError::NewerSchema { .. }
                | StorageError::InUse(_)
                | StorageError::Led
                | StorageError::Migration(_)
                | StorageError::Database(_),
            )
            | EngineError::PasswordHash(_)
            | EngineError::Seal(_)
            | EngineError::Derivation(_)
            | EngineError::Outputs(_)
            | EngineError::Task(_)
            | EngineError::Damaged(_)
            | EngineError::Compression(_)
            | EngineError::Mail(_)
            | EngineError::HttpClient(_)
            | EngineError::Blobs(_) => Self::internal(&error),
        }
    }
}
