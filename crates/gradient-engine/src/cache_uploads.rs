//! What clients upload to a cache, so that `nix copy --to` works: NARs, and then what they are the content of.
//!
//! A NAR comes first, under the name of a file, and is its uploader's only. The narinfo that names it makes it a path: published
//! when all that it refers to can be served, and until then pending, which readers do not see.

mod chunks;
mod log;
mod missing;
mod nar;
mod path;
mod realisation;

use std::io::Read as _;

use gradient_auth::{Caller, Decision};
use gradient_cache_protocol::content_encoding;
use gradient_domain::{CachePermission, UserId};

pub use chunks::ChunkedUploadBegun;
pub(crate) use chunks::MAX_AGE;
pub use nar::NarUpload;
pub use path::PathUpload;
pub(crate) use path::{all_found, expectation};
pub(crate) use realisation::keep_built_realisation;

use crate::{Engine, EngineError, ServedCache};

/// A cache and somebody who may write to it.
#[derive(Debug, Clone, Copy)]
pub struct Uploader {
    user: UserId,
    caller: Caller,
}

impl Engine {
    /// Whether somebody may upload to a cache; who that is then.
    pub async fn may_push(&self, cache: &ServedCache, caller: &Caller) -> Result<Result<Uploader, Decision>, EngineError> {
        let (id, public) = (cache.id, cache.public);
        let Caller::User(user) = *caller else { return Ok(Err(Decision::Anonymous)) };
        let access = self.cache_access(id, public, user.user).await?;
        Ok(match access.decide(caller, CachePermission::WriteStore) {
            Decision::Granted => Ok(Uploader { user: user.user, caller: *caller }),
            refused => Err(refused),
        })
    }
}

/// A small body as it was before it was compressed for the way.
fn decoded(body: &[u8], encoding: &str, max_bytes: usize) -> Result<Vec<u8>, EngineError> {
    let invalid = |message: String| EngineError::Invalid { field: "body", message };
    let reader = content_encoding::decode(body, encoding)
        .ok_or_else(|| invalid(format!("the content encoding `{encoding}` is not taken: send br, gzip, xz, zstd or none")))?;
    let mut decoded = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut decoded).map_err(|error| invalid(format!("it is not {encoding}: {error}")))?;
    if decoded.len() > max_bytes {
        return Err(EngineError::TooLarge(format!("the body has more than {max_bytes} bytes")));
    }
    Ok(decoded)
}
