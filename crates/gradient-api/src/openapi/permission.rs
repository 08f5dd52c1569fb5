//! What a caller needs for an endpoint.

use gradient_domain::{CachePermission, OrgPermission};
use utoipa::openapi::security::SecurityRequirement;

/// The names of the ways to prove who one is, in the document.
pub(super) const BEARER: &str = "bearer";
pub(super) const COOKIE: &str = "cookie";
pub(super) const BASIC: &str = "basic";

/// What a caller needs, as `x-gradient-permission` tells it. The later ones are the stricter ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Permission {
    /// Nothing.
    None,
    /// To be signed in, by a session or an API key.
    SignedIn,
    /// To be a superuser.
    Superuser,
    /// To be signed in by a session; API keys are refused.
    Session,
    /// A permission in the organization that the thing belongs to.
    Organization(OrgPermission),
    /// A permission on the cache.
    Cache(CachePermission),
}

impl Permission {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SignedIn => "signedIn",
            Self::Superuser => "superuser",
            Self::Session => "session",
            Self::Organization(permission) => permission.as_str(),
            Self::Cache(permission) => permission.as_str(),
        }
    }

    /// One sentence for people.
    pub(super) fn sentence(self, credentials: Credentials) -> String {
        let public = if credentials == Credentials::Optional { "; what is public needs none" } else { "" };
        match self {
            Self::None => "Needs no permission.".to_owned(),
            Self::SignedIn => "Needs a session or an API key.".to_owned(),
            Self::Superuser => "Needs a superuser.".to_owned(),
            Self::Session => "Needs a session: API keys are refused.".to_owned(),
            Self::Organization(permission) => format!("Needs the permission `{permission}` in the organization{public}."),
            Self::Cache(permission) => format!("Needs the permission `{permission}` on the cache{public}."),
        }
    }
}

/// Whether, and how, callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Credentials {
    /// They are not looked at.
    Unused,
    /// What is public can be had without.
    Optional,
    /// Nothing without.
    Required,
}

/// The ways to prove it, any of which is enough.
pub(super) fn security(credentials: Credentials, ways: &[&str]) -> Vec<SecurityRequirement> {
    let anonymous = (credentials != Credentials::Required).then(SecurityRequirement::default);
    let used = if credentials == Credentials::Unused { &[] } else { ways };
    anonymous.into_iter().chain(used.iter().map(|way| SecurityRequirement::new(*way, [""; 0]))).collect()
}
