use gradient_auth::Caller;
use gradient_cache_protocol::{Realisation, RealisationName, realisation::MAX_BYTES};
use gradient_domain::{CacheId, Moment};
use gradient_nix::StorePath;
use gradient_storage::{
    Conn, StorageError, cache_paths,
    cache_realisations::{self, CacheRealisation},
    realisations::Realisation as Realised,
};

use super::{Uploader, decoded, path::merged};
use crate::{Engine, EngineError, ServedCache};

/// Keeps what a build's output turned out to be, which the cache has.
pub(crate) async fn keep_built_realisation(
    conn: &mut Conn,
    cache: CacheId,
    built: Realised,
    now: Moment,
) -> Result<(), StorageError> {
    let new = CacheRealisation { path: built.path, dependents: "{}".to_owned(), signatures: Vec::new() };
    claim(conn, cache, &built.name, new, now).await.map(drop)
}

/// What is kept under this name then: what is there already, as long as the cache has that path.
async fn claim(
    conn: &mut Conn,
    cache: CacheId,
    name: &str,
    new: CacheRealisation,
    now: Moment,
) -> Result<CacheRealisation, StorageError> {
    let kept = cache_realisations::claim(conn, cache, name, new.clone(), now).await?;
    if kept.path == new.path || !cache_paths::known(conn, cache, &[kept.path.hash()]).await?.is_empty() {
        return Ok(kept);
    }
    cache_realisations::delete(conn, cache, name).await?;
    cache_realisations::claim(conn, cache, name, new, now).await
}

impl Engine {
    /// Keeps what an output turned out to be, once the cache or an upstream of it serves that path; which path is kept. Where two
    /// builds disagree, the first one stays as long as the cache has it, so that what was built on top of it goes on to fit.
    pub async fn upload_realisation(
        &self,
        cache: &ServedCache,
        uploader: &Uploader,
        name: RealisationName,
        body: &[u8],
        encoding: &str,
    ) -> Result<StorePath, EngineError> {
        let invalid = |message| EngineError::Invalid { field: "realisation", message };
        let json = decoded(body, encoding, MAX_BYTES)?;
        let realisation = Realisation::parse(name, &json).map_err(|error| invalid(error.to_string()))?;
        let (id, hash) = (cache.id, realisation.path().hash());
        let here = self.storage().read(async move |conn: &mut Conn| cache_paths::known(conn, id, &[hash]).await).await?;
        if here.is_empty() && self.upstream_narinfo(cache, &uploader.caller, hash).await?.is_none() {
            return Err(invalid(format!("upload {} before what says that it is an output", realisation.path())));
        }
        let dependents = serde_json::to_string(realisation.dependents()).map_err(|error| invalid(error.to_string()))?;
        let (name, now) = (realisation.name().to_string(), Moment::now());
        let new =
            CacheRealisation { path: realisation.path().clone(), dependents, signatures: realisation.signatures().to_vec() };
        let keep = async move |conn: &mut Conn| {
            let kept = claim(conn, id, &name, new.clone(), now).await?;
            if kept.path == new.path {
                let merged = merged(kept.signatures.clone(), new.signatures);
                if merged != kept.signatures {
                    cache_realisations::set_signatures(conn, id, &name, merged).await?;
                }
            }
            Ok(kept.path)
        };
        Ok(self.storage().transaction(keep).await?)
    }

    /// What an output turned out to be, signed, when the cache was told, and it or an upstream of it still serves that path. JSON, as
    /// Nix reads it.
    pub async fn cached_realisation(
        &self,
        cache: &ServedCache,
        caller: &Caller,
        name: RealisationName,
    ) -> Result<Option<String>, EngineError> {
        let (id, file) = (cache.id, name.to_string());
        let find = async move |conn: &mut Conn| cache_realisations::lookup(conn, id, &file).await;
        let Some(row) = self.storage().read(find).await? else { return Ok(None) };
        let hash = row.path.hash();
        let here = self.storage().read(async move |conn: &mut Conn| cache_paths::known(conn, id, &[hash]).await).await?;
        if here.is_empty() && self.upstream_narinfo(cache, caller, hash).await?.is_none() {
            return Ok(None);
        }
        let dependents = serde_json::from_str(&row.dependents)
            .map_err(|error| EngineError::Damaged(format!("the dependents of {name}: {error}")))?;
        let mut realisation = Realisation::new(name, row.path, dependents, row.signatures);
        cache.sign_realisation(&mut realisation);
        Ok(Some(realisation.to_json()))
    }
}
