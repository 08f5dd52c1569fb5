//! The product's words and pure rules: typed ids, names that only parse, statuses with their legal moves, permissions and
//! wildcards. Nothing here reads a clock, a file or a socket.
//!
//! ```
//! use gradient_domain::{BuildStatus, OrgPermission, OrganizationName, Permissions};
//!
//! let name: OrganizationName = "acme".parse()?;
//! assert_eq!(name.as_str(), "acme");
//! assert!("Acme!".parse::<OrganizationName>().is_err());
//!
//! assert!(BuildStatus::Queued.can_become(BuildStatus::Building));
//! assert!(!BuildStatus::Completed.can_become(BuildStatus::Building));
//!
//! let role = Permissions::from_iter([OrgPermission::ViewOrg, OrgPermission::TriggerEvaluation]);
//! let key = Permissions::from_iter([OrgPermission::ViewOrg, OrgPermission::DeleteOrg]);
//! assert_eq!(role & key, Permissions::from_iter([OrgPermission::ViewOrg]));
//! # Ok::<(), gradient_domain::NameError>(())
//! ```

mod vocabulary;

mod address;
mod build_times;
mod cache_url;
mod failure;
mod id;
mod job;
mod moment;
mod names;
mod password;
mod permissions;
mod project;
mod repository;
mod secret;
mod status;
mod waiting;
mod wildcard;

#[cfg(feature = "openapi")]
mod openapi;
#[cfg(feature = "sql")]
pub mod sql;

pub use address::is_public_address;
pub use build_times::BuildTimes;
pub use cache_url::{CacheUrl, CacheUrlError};
pub use failure::{Failure, FailureKind};
pub use id::{
    ApiKeyId, BuildId, CacheId, CacheKeyId, CacheUpstreamId, ChunkedUploadId, CommitId, DerivationId, EntryPointId, EvaluationId,
    EvaluationMessageId, Id, IdError, IdKind, OrganizationId, ProjectId, RoleId, SessionId, UploadedLogId, UserId, WorkerId,
    kinds,
};
pub use job::{Epoch, Job, JobKind, ParseJobError};
pub use moment::{Moment, MomentError};
pub use names::{
    ApiKeyName, CacheName, DisplayName, Email, NameError, NameField, OrganizationName, ProjectName, RoleName, Username,
};
pub use password::{Password, PasswordError};
pub use permissions::{BuiltInRole, CachePermission, CachePermissions, OrgPermission, Permissions, RoleScope, UnknownPermission};
pub use project::{Concurrency, Priority, PriorityError, Publish, SubscriptionMode};
pub use repository::{RepositoryKind, RepositoryUrl, RepositoryUrlError};
pub use secret::Secret;
pub use status::{BuildKind, BuildStatus, EvaluationStatus, MessageLevel};
pub use vocabulary::UnknownWord;
pub use waiting::{BuildWait, EvaluationWait, Shortage, UnmetWorkers};
pub use wildcard::{Attribute, Pattern, Segment, Wildcard, WildcardError, attribute_path};
