use std::fmt;

use gradient_nix::NarHash;
use object_store::path::Path;
use uuid::Uuid;

/// The name of a blob. It is made from hashes, ids and numbers only, never from foreign text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobKey {
    path: Path,
    on_conflict: OnConflict,
}

/// What is done with a blob that has the key already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OnConflict {
    Keep,
    Replace,
}

impl BlobKey {
    /// A NAR, compressed with zstd: `nar/<hash>.nar.zst`.
    pub fn nar(hash: &NarHash) -> Self {
        Self::new(format!("nar/{}.nar.zst", hash.to_nix32()), OnConflict::Keep)
    }

    /// The listing of a NAR, as JSON compressed with zstd: `ls/<hash of the NAR>.json.zst`.
    pub fn listing(nar: &NarHash) -> Self {
        Self::new(format!("ls/{}.json.zst", nar.to_nix32()), OnConflict::Keep)
    }

    /// The log of one attempt at a build: `log/<build>/<epoch>.zst`.
    pub fn log(build: Uuid, epoch: u32) -> Self {
        Self::new(format!("log/{}/{epoch}.zst", build.hyphenated()), OnConflict::Replace)
    }

    fn new(path: String, on_conflict: OnConflict) -> Self {
        Self { path: Path::from(path), on_conflict }
    }

    /// The key as text, without a leading slash.
    pub fn as_str(&self) -> &str {
        self.path.as_ref()
    }

    pub(crate) const fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn on_conflict(&self) -> OnConflict {
        self.on_conflict
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_other_programs_expect() {
        let hash: NarHash = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73".parse().unwrap();
        let nix32 = "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
        assert_eq!(BlobKey::nar(&hash).as_str(), format!("nar/{nix32}.nar.zst"));
        assert_eq!(BlobKey::listing(&hash).as_str(), format!("ls/{nix32}.json.zst"));
        assert_eq!(BlobKey::log(Uuid::nil(), 3).as_str(), "log/00000000-0000-0000-0000-000000000000/3.zst");
    }
}
