//! Who somebody is and what they may do: password hashes, session tokens and keys, OpenID providers, sealing of secrets, and the
//! decision "may this caller do that". No SQL, no sockets.
//!
//! ```
//! use gradient_auth::{ApiKey, Authenticated, Caller, Decision, OrganizationAccess, Via};
//! use gradient_domain::{BuiltInRole, OrgPermission, OrganizationId, SessionId, UserId};
//!
//! let key = ApiKey::generate(&mut rand::rng());
//! assert!(key.hash().matches(&ApiKey::parse(key.expose()).ok_or("no key")?.hash()));
//!
//! let alice = Caller::User(Authenticated { user: UserId::new(), superuser: false, via: Via::Session(SessionId::new()) });
//! let acme = OrganizationAccess {
//!     id: OrganizationId::new(),
//!     public: false,
//!     role: Some(BuiltInRole::View.permissions()),
//! };
//! assert_eq!(acme.decide(&alice, OrgPermission::ViewOrg), Decision::Granted);
//! assert_eq!(acme.decide(&alice, OrgPermission::DeleteOrg), Decision::Denied);
//! assert_eq!(acme.decide(&Caller::Anonymous, OrgPermission::ViewOrg), Decision::Anonymous);
//! # Ok::<(), &str>(())
//! ```

mod authority;
mod hash;
mod jwt;
pub mod oidc;
mod passwords;
mod sealing;
mod secrets;
mod tokens;

pub use authority::{Authenticated, CacheAccess, Caller, Decision, KeyAuthority, OrganizationAccess, Pin, Via};
pub use hash::SecretHash;
pub use jwt::{Claims, JwtError, JwtKeys};
pub use passwords::{PasswordHash, PasswordHashError, PasswordHasher};
pub use sealing::{Place, SealError, Sealer};
pub use secrets::{KeyId, SecretKeys, SecretKeysError};
pub use tokens::{ApiKey, Bearer, EmailToken, SessionToken, WorkerToken, WorkerTokenError};
