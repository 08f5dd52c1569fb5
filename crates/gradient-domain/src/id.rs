//! Typed identifiers: a UUID that knows what it names.

use std::{cmp::Ordering, fmt, hash, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use uuid::Uuid;

/// What an [`Id`] names. Implemented by the markers in [`kinds`] only.
pub trait IdKind: Send + Sync + 'static {
    /// The field's word for it, as it appears in messages.
    const NAME: &'static str;
}

/// A UUID v7 that names one thing of kind `K`.
#[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
#[cfg_attr(feature = "sql", diesel(sql_type = crate::sql::Key))]
pub struct Id<K: IdKind>(Uuid, PhantomData<fn() -> K>);

/// A text that is no identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Not a UUID at all.
    #[error("`{text}` is no {kind} id: expected a UUID")]
    NotUuid {
        /// The kind that was wanted.
        kind: &'static str,
        /// What was given, cut to 100 characters.
        text: String,
    },
    /// A UUID, but not a version 4 one, which worker ids have to be.
    #[error("`{0}` is no worker id: expected a UUID of version 4")]
    NotVersion4(Uuid),
}

impl<K: IdKind> Id<K> {
    /// A new identifier, ordered by the time it was made.
    pub fn new() -> Self {
        Self(Uuid::now_v7(), PhantomData)
    }

    /// Takes a UUID at its word: for rows and messages that already carry one.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// The UUID itself.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl<K: IdKind> Default for Id<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: IdKind> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: IdKind> Copy for Id<K> {}

impl<K: IdKind> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K: IdKind> Eq for Id<K> {}

impl<K: IdKind> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: IdKind> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<K: IdKind> hash::Hash for Id<K> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<K: IdKind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", K::NAME, self.0)
    }
}

impl<K: IdKind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<K: IdKind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text)
            .map(Self::from_uuid)
            .map_err(|_| IdError::NotUuid { kind: K::NAME, text: text.chars().take(100).collect() })
    }
}

impl<K: IdKind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, K: IdKind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::deserialize(deserializer).map(Self::from_uuid)
    }
}

/// Declares the kinds of identifiers: for each a marker in `kinds` and an alias of [`Id`].
macro_rules! id_kinds {
    ($($kind:ident => $alias:ident, $name:literal;)+) => {
        /// The markers that tell identifiers apart.
        pub mod kinds {
            $(
                #[doc = concat!("Marks the id of one ", $name, ".")]
                #[derive(Debug, Clone, Copy)]
                pub enum $kind {}

                impl super::IdKind for $kind {
                    const NAME: &'static str = $name;
                }
            )+
        }
        $(
            #[doc = concat!("Names one ", $name, ".")]
            pub type $alias = Id<kinds::$kind>;
        )+
    };
}

id_kinds! {
    ApiKey => ApiKeyId, "API key";
    Build => BuildId, "build";
    Cache => CacheId, "cache";
    CacheKey => CacheKeyId, "cache key";
    CacheUpstream => CacheUpstreamId, "cache upstream";
    ChunkedUpload => ChunkedUploadId, "upload";
    Commit => CommitId, "commit";
    Derivation => DerivationId, "derivation";
    EntryPoint => EntryPointId, "entry point";
    Evaluation => EvaluationId, "evaluation";
    EvaluationMessage => EvaluationMessageId, "evaluation message";
    Organization => OrganizationId, "organization";
    Project => ProjectId, "project";
    Role => RoleId, "role";
    Session => SessionId, "session";
    UploadedLog => UploadedLogId, "uploaded log";
    User => UserId, "user";
}

/// Names one worker: a UUID v4 that the worker made for itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
#[cfg_attr(feature = "sql", diesel(sql_type = crate::sql::Key))]
#[serde(transparent)]
pub struct WorkerId(Uuid);

impl WorkerId {
    /// A new random worker id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The UUID itself.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl TryFrom<Uuid> for WorkerId {
    type Error = IdError;

    fn try_from(uuid: Uuid) -> Result<Self, IdError> {
        if uuid.get_version_num() == 4 { Ok(Self(uuid)) } else { Err(IdError::NotVersion4(uuid)) }
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker({})", self.0)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for WorkerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text).map_err(|_| IdError::NotUuid { kind: "worker", text: text.chars().take(100).collect() })?.try_into()
    }
}

impl<'de> Deserialize<'de> for WorkerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}
