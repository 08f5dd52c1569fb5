//! Who may read a cache.

use gradient_auth::{CacheAccess, Caller, Decision};
use gradient_domain::{CacheId, CachePermission, UserId};
use gradient_storage::{caches, organizations, subscriptions};

use super::ServedCache;
use crate::{Engine, EngineError};

impl Engine {
    /// Whether somebody may read a cache. Everybody may read a public one, whoever they are.
    pub async fn may_pull(&self, cache: &ServedCache, caller: &Caller) -> Result<Decision, EngineError> {
        if cache.public {
            return Ok(Decision::Granted);
        }
        let access = match caller {
            Caller::User(user) => self.cache_access(cache.id, false, user.user).await?,
            Caller::Anonymous => CacheAccess { id: cache.id, public: false, role: None, through: Vec::new() },
        };
        Ok(access.decide(caller, CachePermission::ReadStore))
    }

    /// What decides about a user.
    pub(crate) async fn cache_access(&self, id: CacheId, public: bool, user: UserId) -> Result<CacheAccess, EngineError> {
        let find = async move |conn: &mut gradient_storage::Conn| {
            let role = caches::role_of(conn, user, id).await?.map(|(.., permissions)| permissions);
            let mine = organizations::ids_of_member(conn, user).await?;
            let mut through = subscriptions::readers(conn, id).await?;
            through.retain(|organization| mine.contains(organization));
            Ok(CacheAccess { id, public, role, through })
        };
        Ok(self.storage().read(find).await?)
    }
}
