use gradient_nix::NarHash;
use gradient_storage::{Conn, debuginfo};

use super::ServedCache;
use crate::{Engine, EngineError};

/// Where the debugging information of a build id is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedDebuginfo {
    /// The NAR.
    pub nar_hash: NarHash,
    /// The file inside it.
    pub member: String,
}

impl Engine {
    /// Where the debugging information of a build id is, when the cache has it.
    pub async fn cached_debuginfo(&self, cache: &ServedCache, build_id: String) -> Result<Option<CachedDebuginfo>, EngineError> {
        let id = cache.id;
        let find = async move |conn: &mut Conn| debuginfo::lookup(conn, id, &build_id).await;
        let found = self.storage().read(find).await?;
        Ok(found.map(|(nar_hash, member)| CachedDebuginfo { nar_hash, member }))
    }
}
