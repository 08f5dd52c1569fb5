//! Files that the database knows nothing of.

use std::time::SystemTime;

use futures_util::TryStreamExt;
use gradient_blobs::{BlobKey, StoredBlob};
use gradient_nix::NarHash;
use gradient_storage::{Conn, verification};

use super::{Fault, STRAY_AFTER, Verifier};
use crate::EngineError;

/// Files that are looked up at a time.
const FILES: usize = 500;

impl Verifier<'_> {
    pub(super) async fn strays(&mut self) -> Result<(), EngineError> {
        for folder in ["nar", "ls"] {
            let mut files = self.blobs.list(folder).try_chunks(FILES);
            while let Some(chunk) = files.try_next().await.map_err(|broken| broken.1)? {
                let hashes: Vec<NarHash> = chunk.iter().filter_map(|file| nar_of(&file.name)).collect();
                let known = self.known(hashes).await?;
                for file in chunk {
                    let nar = nar_of(&file.name);
                    if !nar.is_some_and(|nar| known.contains(&nar)) {
                        self.stray(file, nar).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn known(&self, hashes: Vec<NarHash>) -> Result<Vec<NarHash>, EngineError> {
        Ok(self.storage.read(async move |conn: &mut Conn| verification::known(conn, &hashes).await).await?)
    }

    async fn stray(&mut self, file: StoredBlob, nar: Option<NarHash>) -> Result<(), EngineError> {
        let age = SystemTime::now().duration_since(file.modified).unwrap_or_default();
        if age < STRAY_AFTER {
            self.report.young_strays += 1;
            return Ok(());
        }
        self.report.strays += 1;
        self.fault(&Fault::Stray(file.name.clone()));
        if self.repair && self.blobs.put_aside(&file.name).await? {
            // Somebody may have uploaded the same NAR just now and have found the file good.
            let is_wanted = match nar {
                Some(nar) => !self.known(vec![nar]).await?.is_empty(),
                None => false,
            };
            if is_wanted {
                self.blobs.put_back(&file.name).await?;
            } else {
                self.blobs.discard_aside(&file.name).await?;
            }
        }
        Ok(())
    }
}

/// The NAR that a file is of, when it is named as such.
fn nar_of(name: &str) -> Option<NarHash> {
    let (folder, file) = name.split_once('/')?;
    let ending = if folder == "nar" { ".nar.zst" } else { ".json.zst" };
    let nar = NarHash::from_nix32(file.strip_suffix(ending)?).ok()?;
    let key = if folder == "nar" { BlobKey::nar(&nar) } else { BlobKey::listing(&nar) };
    // Not another spelling of it.
    (key.as_str() == name).then_some(nar)
}
