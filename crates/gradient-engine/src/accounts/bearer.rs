//! From a bearer token to the caller.

use std::time::Duration;

use gradient_auth::{ApiKey, Authenticated, Bearer, Caller, KeyAuthority, Pin, Via};
use gradient_domain::Moment;
use gradient_storage::{Conn, Digest, StorageError, api_keys, sessions, users};

use crate::{Engine, EngineError};

/// How exact the last use of an API key is.
const KEY_USE: Duration = Duration::from_mins(1);

impl Engine {
    /// Whose token this is: a JWT or an API key. Bad, expired and revoked ones are all `Unauthorized`.
    pub async fn caller(&self, bearer: &str) -> Result<Caller, EngineError> {
        self.caller_until(bearer).await.map(|(caller, _)| caller)
    }

    /// The same, and from when on the token is worth nothing, if it ends by itself.
    pub(crate) async fn caller_until(&self, bearer: &str) -> Result<(Caller, Option<Moment>), EngineError> {
        match Bearer::parse(bearer).ok_or(EngineError::Unauthorized)? {
            Bearer::Jwt(token) => self.caller_of_session(token).await,
            Bearer::ApiKey(key) => self.caller_of_key(&key).await,
        }
    }

    async fn caller_of_session(&self, token: &str) -> Result<(Caller, Option<Moment>), EngineError> {
        let now = Moment::now();
        let claims = self.jwt().verify(token, now)?;
        let live = async move |conn: &mut Conn| {
            let session = sessions::lookup_live(conn, claims.jti, now).await?;
            match session.filter(|session| session.user == claims.id) {
                Some(session) => Ok(users::lookup(conn, session.user).await?.map(|user| (user, session.expires_at))),
                None => Ok(None),
            }
        };
        let (user, session_ends) = self.storage().read(live).await?.ok_or(EngineError::Unauthorized)?;
        let until = Moment::from_micros(claims.exp.saturating_mul(1_000_000)).min(session_ends);
        let via = Via::Session(claims.jti);
        Ok((Caller::User(Authenticated { user: user.id, superuser: user.superuser, via }), Some(until)))
    }

    async fn caller_of_key(&self, key: &ApiKey) -> Result<(Caller, Option<Moment>), EngineError> {
        let (hash, now) = (Digest(*key.hash().as_bytes()), Moment::now());
        let found = async move |conn: &mut Conn| {
            let key = api_keys::lookup_by_hash(conn, hash).await?;
            match key.filter(|key| key.expires_at.is_none_or(|end| now < end)) {
                Some(key) => Ok(users::lookup(conn, key.user).await?.map(|user| (key, user))),
                None => Ok::<_, StorageError>(None),
            }
        };
        let (key, user) = self.storage().read(found).await?.ok_or(EngineError::Unauthorized)?;
        if key.last_used_at.is_none_or(|last| now.since(last) >= KEY_USE) {
            let id = key.id;
            self.storage().write(async move |conn: &mut Conn| api_keys::touch(conn, id, now).await).await?;
        }
        let pin = match (key.organization, key.cache) {
            (_, Some(cache)) => Pin::Cache(cache),
            (Some(organization), None) => Pin::Organization(organization),
            (None, None) => Pin::Everywhere,
        };
        let authority = KeyAuthority { id: key.id, permissions: key.permissions, cache_permissions: key.cache_permissions, pin };
        // A key does not carry its user's rights over the server.
        let caller = Caller::User(Authenticated { user: user.id, superuser: false, via: Via::ApiKey(authority) });
        Ok((caller, key.expires_at))
    }
}
