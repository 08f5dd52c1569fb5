//! Reading one stored NAR as if it had just come.

use std::io::Read;

use gradient_blobs::{BlobError, BlobKey, Blobs};
use gradient_cache_protocol::ingest::{self, Candidates, Expectation, IngestError};
use gradient_nix::{NarHash, StorePath, nar::Listing};
use gradient_storage::nars::Nar;

use crate::{EngineError, artefacts::Stored};

/// How large a listing may be, compressed and as JSON.
const MAX_LISTING: u64 = 128 << 20;

/// How well listings are compressed.
const LISTING_LEVEL: i32 = 3;

/// A NAR is verified as the content of a path; which one does not matter where nothing is claimed of references and addresses.
const ANY_PATH: &str = "00000000000000000000000000000000-nar";

/// How a stored NAR is.
pub(super) enum State {
    /// As it should be.
    Good { listed: Listed, file_hash: NarHash, file_size: u64 },
    /// Not there.
    Missing,
    /// Not what it should be, and why.
    Corrupt(String),
    /// Not to be told, and why.
    Unreadable(String),
}

/// What the listing of a good NAR is like; where it is not, what it should be, compressed.
pub(super) enum Listed {
    Well,
    Not(Vec<u8>),
    Wrong(Vec<u8>),
}

/// Reads a NAR and its listing. Of one that is quarantined its file may be any that has the NAR.
pub(super) async fn check(blobs: &Blobs, row: &Nar) -> Result<State, EngineError> {
    let blob = match blobs.get(&BlobKey::nar(&row.nar_hash)).await {
        Ok(Some(blob)) => blob,
        Ok(None) => return Ok(State::Missing),
        Err(error) => return Ok(State::Unreadable(described(&error))),
    };
    let listing = match blobs.read_all(&BlobKey::listing(&row.nar_hash), MAX_LISTING).await {
        Ok(listing) => listing,
        Err(BlobError::TooLarge { .. }) => Some(bytes::Bytes::new()),
        Err(error) => return Ok(State::Unreadable(described(&error))),
    };
    let expectation = expectation(row)?;
    let read = move || {
        let verified = match ingest::verify(Stored::new(blob), &expectation) {
            Ok(verified) => verified,
            Err(IngestError::Read(error)) => return Ok(State::Unreadable(error.to_string())),
            Err(error) => return Ok(State::Corrupt(error.to_string())),
        };
        let listed = compare(&verified.nar.listing, listing.as_deref())?;
        Ok(State::Good { listed, file_hash: verified.file_hash, file_size: verified.file_size })
    };
    tokio::task::spawn_blocking(read).await.map_err(|_| EngineError::Stopping)?
}

fn expectation(row: &Nar) -> Result<Expectation, EngineError> {
    let damaged = |what: &str| EngineError::Damaged(format!("the {what} of the NAR {} is not one", row.nar_hash));
    let path: StorePath = ANY_PATH.parse().map_err(|_| damaged("path"))?;
    let size = |size: i64, what| u64::try_from(size).map_err(|_| damaged(what));
    let nar_size = size(row.nar_size, "size")?;
    let mut expectation = Expectation::new(path, Candidates::new([]), nar_size);
    (expectation.nar_hash, expectation.nar_size) = (Some(row.nar_hash), Some(nar_size));
    if row.quarantined_at.is_none() {
        expectation.file_hash = Some(row.file_hash);
        expectation.file_size = Some(size(row.file_size, "file size")?);
    }
    Ok(expectation)
}

fn compare(listing: &Listing, stored: Option<&[u8]>) -> Result<Listed, EngineError> {
    let right = listing.to_json().map_err(|error| EngineError::Damaged(error.to_string()))?;
    let compressed = || zstd::bulk::compress(&right, LISTING_LEVEL).map_err(EngineError::Compression);
    let Some(stored) = stored else { return Ok(Listed::Not(compressed()?)) };
    let is_right = decompress(stored).is_some_and(|json| json == right || is_same(listing, &json));
    Ok(if is_right { Listed::Well } else { Listed::Wrong(compressed()?) })
}

/// It may have been written by another version, with its fields in another order.
fn is_same(listing: &Listing, json: &[u8]) -> bool {
    Listing::from_json(json).is_ok_and(|stored| stored == *listing)
}

fn decompress(stored: &[u8]) -> Option<Vec<u8>> {
    let mut json = Vec::new();
    zstd::Decoder::new(stored).ok()?.take(MAX_LISTING).read_to_end(&mut json).ok()?;
    Some(json)
}

fn described(error: &BlobError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
