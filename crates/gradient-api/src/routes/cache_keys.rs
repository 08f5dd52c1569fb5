//! `/caches/{cache}/keys`: what a cache signs with.

use actix_web::web;
use gradient_auth::Caller;
use gradient_domain::{CacheKeyId, Moment, OrgPermission, OrganizationName};
use gradient_engine::{CacheKeyView, Engine, Signer, SigningWait, WorkerKey, public_key};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::fields::parse;
use crate::{
    ApiError,
    body::OptionalBody,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Sentence},
    error::Code,
    scope::{CacheScope, ManageCacheKeys, ViewCache},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Caches:
        list;
        add => Conflict, Validation;
        retire => Conflict;
    }
}

/// Who has the secret of a key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Signing {
    /// The server.
    Server,
    /// A worker, and never the server.
    Worker,
}

impl From<Signer> for Signing {
    fn from(signer: Signer) -> Self {
        match signer {
            Signer::Server => Self::Server,
            Signer::Worker => Self::Worker,
        }
    }
}

/// A key that a cache signs with.
#[derive(Serialize, ToSchema)]
#[schema(as = CacheKey, title = "CacheKey")]
struct KeyBody {
    id: CacheKeyId,
    /// What is in each of its signatures. No other key of the cache ever has this name.
    #[schema(example = "gradient.example.com-main.2")]
    name: String,
    /// As Nix takes it.
    #[schema(example = "gradient.example.com-main.2:1mUeXHAkR6T2NdsWkXqCdrnB0z6MGtQm3HBBwN0xdjk=")]
    public_key: String,
    /// Who has its secret, and makes its signatures.
    held_by: Signing,
    /// Whether it is the one that `/caches/{cache}/key` shows.
    primary: bool,
    /// How many paths a worker has not signed with it yet.
    #[schema(example = 0)]
    unsigned: i64,
    /// How many of those are not served before that, for they came after the key.
    #[schema(example = 0)]
    withheld: i64,
    /// Why they are not signed yet; none when there are none.
    waiting_reason: Option<WaitingReason>,
    created_at: Moment,
}

/// Why a worker has not signed yet.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = CacheKeyWaitingReason)]
enum WaitingReason {
    /// The organization whose workers have the key is gone.
    NoOrganization {},
    /// No worker is connected that serves that organization and has the key.
    NoWorker {},
    /// Such workers did not answer, or not with signatures of the key; they are asked again after five minutes.
    NotSigned {},
    /// A worker is signing.
    Signing {},
}

impl From<SigningWait> for WaitingReason {
    fn from(wait: SigningWait) -> Self {
        match wait {
            SigningWait::NoOrganization => Self::NoOrganization {},
            SigningWait::NoWorker => Self::NoWorker {},
            SigningWait::NotSigned => Self::NotSigned {},
            SigningWait::Signing => Self::Signing {},
        }
    }
}

impl KeyBody {
    fn new(CacheKeyView { key, wanted, wait }: &CacheKeyView, primary: bool) -> Result<Self, ApiError> {
        Ok(Self {
            id: key.id,
            name: key.name.clone(),
            public_key: public_key(key)?.to_string(),
            held_by: Signer::of(key).into(),
            primary,
            unsigned: wanted.paths,
            withheld: wanted.withheld,
            waiting_reason: wait.map(WaitingReason::from),
            created_at: key.created_at,
        })
    }
}

/// Lists the keys that a cache signs with, the newest first.
///
/// While there are several, everything carries a signature of each.
#[utoipa::path(get, path = "/caches/{cache}/keys")]
async fn list(scope: CacheScope<ViewCache>, engine: web::Data<Engine>) -> Result<Answer<Vec<KeyBody>>, ApiError> {
    let keys = engine.cache_keys(scope.found.cache.id).await?;
    let shown = keys.iter().enumerate().map(|(place, view)| KeyBody::new(view, place == 0));
    Ok(Answer(shown.collect::<Result<_, _>>()?))
}

/// What a new key is to be: one that the server makes, or the one of a worker.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = NewCacheKey, examples(json!({})))]
struct AddBody {
    /// The public key that belongs to the secret key of a worker.
    #[schema(example = "cache.example.com-1:1mUeXHAkR6T2NdsWkXqCdrnB0z6MGtQm3HBBwN0xdjk=")]
    public_key: Option<String>,
    /// The organization whose workers sign with it. The caller has to manage its workers.
    #[schema(value_type = Option<OrganizationName>)]
    organization: Option<String>,
}

/// Gives a cache a new key.
///
/// It signs everything that the cache has, beside the keys that the cache has already: clients that trust an older one go on.
/// At most four. Without a `public_key` the server makes it.
#[utoipa::path(post, path = "/caches/{cache}/keys")]
async fn add(
    scope: CacheScope<ManageCacheKeys>,
    body: OptionalBody<AddBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<KeyBody>, ApiError> {
    let AddBody { public_key, organization } = body.read()?.unwrap_or_default();
    let of_worker = of_worker(&engine, &scope.caller, public_key, organization).await?;
    let added = engine.add_cache_key(&scope.found.cache, of_worker).await?;
    let all = engine.cache_keys(scope.found.cache.id).await?;
    let place = all.iter().position(|view| view.key.id == added.id);
    // Somebody else may have retired it meanwhile.
    let (place, view) =
        place.and_then(|place| Some((place, all.get(place)?))).ok_or_else(|| ApiError::not_found("there is no such key"))?;
    Ok(Answer(KeyBody::new(view, place == 0)?))
}

/// The key of a worker, when one is named; the caller has to manage the organization's workers.
pub(super) async fn of_worker(
    engine: &Engine,
    caller: &Caller,
    public_key: Option<String>,
    organization: Option<String>,
) -> Result<Option<WorkerKey>, ApiError> {
    let (key, organization) = match (public_key, organization) {
        (None, None) => return Ok(None),
        (Some(key), Some(organization)) => (parse("public_key", &key)?, organization),
        _ => return Err(ApiError::new(Code::Validation, "the key of a worker has a `public_key` and an `organization`")),
    };
    let found = match organization.parse() {
        Ok(name) => engine.find_organization(caller, name).await?,
        Err(_) => None,
    };
    let found = found.ok_or_else(|| ApiError::not_found("there is no such organization"))?;
    let decision = found.access.decide(caller, OrgPermission::ManageWorkers);
    ApiError::decided(decision, "organization", OrgPermission::ManageWorkers.as_str())?;
    Ok(Some(WorkerKey { public: key, organization: found.organization.id }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RetireQuery {
    /// Whether it is retired even when no other key has signed all that the cache serves: what none has signed is not served then.
    #[serde(default)]
    force: bool,
}

/// Retires a key of a cache.
///
/// Nothing carries its signature any more, so clients that trust no other key take nothing more from the cache. A secret that the
/// server has is gone, and the name stays taken; the key of a worker can be added again. The last key stays, and so does, unless
/// `force` is given, one without which something that the cache serves would have no signature.
#[utoipa::path(delete, path = "/caches/{cache}/keys/{id}", params(RetireQuery))]
async fn retire(
    scope: CacheScope<ManageCacheKeys>,
    path: web::Path<(String, String)>,
    query: web::Query<RetireQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let id = path.1.parse().map_err(|_| ApiError::not_found("there is no such key"))?;
    engine.retire_cache_key(&scope.found.cache, id, query.force).await?;
    Ok(Answer(Sentence("the key is retired: nothing is signed with it any more".to_owned())))
}
