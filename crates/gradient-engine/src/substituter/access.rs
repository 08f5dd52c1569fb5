//! Who may read a cache.

use gradient_auth::{CacheAccess, Caller, Decision};
use gradient_domain::CachePermission;
use gradient_storage::{caches, organizations, subscriptions};

use super::ServedCache;
use crate::{Engine, EngineError};

impl Engine {
    /// Whether somebody may read a cache. Everybody may read a public one, whoever they are.
    pub async fn may_pull(&self, cache: &ServedCache, caller: &Caller) -> Result<Decision, EngineError> {
        if cache.public {
            return Ok(Decision::Granted);
        }
        let mut access = CacheAccess { id: cache.id, public: false, role: None, through: Vec::new() };
        if let Caller::User(user) = caller {
            let (cache, user) = (cache.id, user.user);
            (access.role, access.through) = self
                .storage()
                .read(async move |conn: &mut gradient_storage::Conn| {
                    let role = caches::role_of(conn, user, cache).await?.map(|(.., permissions)| permissions);
                    let mine = organizations::ids_of_member(conn, user).await?;
                    let mut through = subscriptions::readers(conn, cache).await?;
                    through.retain(|organization| mine.contains(organization));
                    Ok((role, through))
                })
                .await?;
        }
        Ok(access.decide(caller, CachePermission::ReadStore))
    }
}
