use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, stream};
use gradient_nix::StorePathHash;
use gradient_storage::{Conn, cache_paths};

use super::Uploader;
use crate::{Engine, EngineError, ServedCache};

/// Upstreams that are asked at the same time.
const ASKING: usize = 8;

/// How long upstreams are asked: what they have not said by then is taken for missing, which costs an upload only.
const MAX_ASKING: Duration = Duration::from_secs(20);

impl Engine {
    /// Those of the hashes that neither the cache nor an upstream of it serves, in the order given, each once.
    pub async fn missing_from_cache(
        &self,
        cache: &ServedCache,
        uploader: &Uploader,
        hashes: Vec<StorePathHash>,
    ) -> Result<Vec<StorePathHash>, EngineError> {
        let mut seen = HashSet::with_capacity(hashes.len());
        let hashes: Vec<_> = hashes.into_iter().filter(|hash| seen.insert(*hash)).collect();
        let (id, asked) = (cache.id, hashes.clone());
        let mut there = self.storage().read(async move |conn: &mut Conn| cache_paths::known(conn, id, &asked).await).await?;
        // Whoever is told that it is there does not upload it, and relies on it.
        for hash in &there {
            self.fetches().note_rare(id, *hash);
        }
        if cache.has_upstreams() {
            let absent: Vec<_> = hashes.iter().copied().filter(|hash| !there.contains(hash)).collect();
            let ask = async |hash| match self.upstream_narinfo(cache, &uploader.caller, hash).await {
                Ok(found) => found.map(|_| hash),
                // It is for the upload to wait; here others are asked meanwhile.
                Err(_) => None,
            };
            let mut answers = std::pin::pin!(stream::iter(absent).map(ask).buffer_unordered(ASKING));
            let _ = tokio::time::timeout(MAX_ASKING, async {
                while let Some(found) = answers.next().await {
                    there.extend(found);
                }
            })
            .await;
        }
        Ok(hashes.into_iter().filter(|hash| !there.contains(hash)).collect())
    }
}
