use futures_util::TryStreamExt;
use gradient_blobs::{Blob, BlobKey, Put, StagedFile};
use gradient_cache_protocol::ingest::VerifiedUpload;
use gradient_domain::Moment;
use gradient_nix::{HashAlgorithm, NarHash, NixHasher};
use gradient_storage::{
    Conn, StorageError, debuginfo,
    nars::{self, NewNar},
};

use crate::{Engine, EngineError};

/// How well listings are compressed.
const LISTING_LEVEL: i32 = 3;

/// What the database is to know of a NAR whose bytes are stored.
#[derive(Debug)]
pub(crate) struct Stored {
    nar: NewNar,
    build_ids: Vec<(String, String)>,
}

impl Stored {
    /// Notes that the NAR is there, and somebody's.
    pub(crate) async fn claim(self, conn: &mut Conn) -> Result<(), StorageError> {
        nars::claim(conn, self.nar).await?;
        debuginfo::insert_many(conn, self.nar.nar_hash, self.build_ids).await
    }
}

/// Gives the verified bytes their name; what the database is to know of the file that has it then. The listing is there, too, before
/// anybody can find the NAR.
pub(crate) async fn store(
    engine: &Engine,
    verified: &VerifiedUpload,
    staged: StagedFile,
    now: Moment,
) -> Result<Stored, EngineError> {
    let json = verified.nar.listing.to_json().map_err(|error| EngineError::Damaged(error.to_string()))?;
    let listing = zstd::bulk::compress(&json, LISTING_LEVEL).map_err(EngineError::Compression)?;
    let (listing_key, key) = (BlobKey::listing(&verified.nar.nar_hash), BlobKey::nar(&verified.nar.nar_hash));
    let (_, put) = tokio::try_join!(engine.blobs().put(&listing_key, listing.into()), engine.blobs().put_staged(&key, staged))?;
    let (file_hash, file_size) = match put {
        Put::New => (verified.file_hash, verified.file_size),
        Put::Existed => stored_file(engine, &key).await?,
    };
    let (nar_hash, nar_size) = (verified.nar.nar_hash, verified.nar.nar_size);
    let nar = NewNar { nar_hash, nar_size, file_hash, file_size, created_at: now };
    Ok(Stored { nar, build_ids: verified.nar.listing.build_ids() })
}

/// The same NAR may have come before, compressed in another way: what is there is what is served.
async fn stored_file(engine: &Engine, key: &BlobKey) -> Result<(NarHash, u64), EngineError> {
    let gone = || EngineError::Damaged(format!("{key} went while it was looked at"));
    let Blob { size, mut stream, .. } = engine.blobs().get(key).await?.ok_or_else(gone)?;
    let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
    while let Some(chunk) = stream.try_next().await? {
        hasher.update(&chunk);
    }
    let digest = hasher.finalize().digest_as_bytes().try_into().map_err(|_| gone())?;
    Ok((NarHash(digest), size))
}
