//! What another cache says of a path: believed when the key that is expected of it has signed it, and passed on with the
//! whole address of the NAR.

use gradient_nix::{NarHash, NarInfo, NixHash, PublicKey, StoreDir, StorePath, StorePathHash};
use thiserror::Error;

use crate::PathInfo;

/// A path that another cache has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignPath {
    info: PathInfo,
    url: String,
    compression: String,
}

/// Why another cache's answer does not count.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ForeignError {
    /// It is no narinfo, or one that no client would take.
    #[error("it is no narinfo: {0}")]
    Malformed(String),
    /// It is about another path than the one that was asked for.
    #[error("it is about {0}")]
    OtherPath(StorePath),
    /// The expected key has not signed it.
    #[error("it is not signed by {0}")]
    Unsigned(String),
}

impl ForeignPath {
    /// Reads the narinfo that the cache at `base` answered to `hash`. `base` is an http or https URL without a slash at its end.
    pub fn verify(text: &[u8], hash: StorePathHash, key: &PublicKey, base: &str) -> Result<Self, ForeignError> {
        let malformed = |error: &dyn std::fmt::Display| ForeignError::Malformed(error.to_string());
        let parsed = NarInfo::parse_in(&StoreDir::default(), text).map_err(|error| malformed(&error))?;
        let path = StorePath::from(parsed.store_path().clone());
        if path.hash() != hash {
            return Err(ForeignError::OtherPath(path));
        }
        let NixHash::Sha256(nar_hash) = *parsed.nar_hash() else { return Err(malformed(&"its NarHash is no sha256")) };
        let file_hash = match parsed.file_hash() {
            Some(NixHash::Sha256(digest)) => Some(NarHash(*digest)),
            _ => None,
        };
        let mut info = PathInfo {
            path,
            nar_hash: NarHash(nar_hash),
            nar_size: parsed.nar_size(),
            file_hash,
            file_size: parsed.file_size(),
            references: parsed.references().iter().cloned().map(StorePath::from).collect(),
            deriver: parsed.deriver().cloned().map(StorePath::from),
            content_address: parsed.content_address().cloned(),
            signatures: Vec::new(),
        };
        let fingerprint = info.fingerprint();
        let mut signatures = parsed.signatures().iter().map(ToString::to_string);
        let signature = signatures.find(|signature| key.verifies(&fingerprint, signature));
        info.signatures.push(signature.ok_or_else(|| ForeignError::Unsigned(key.name().to_owned()))?);
        let url = absolute(base, parsed.url()).ok_or_else(|| malformed(&"its URL is none"))?;
        Ok(Self { info, url, compression: parsed.compression().to_string() })
    }

    /// What it says of the path; of its signatures only the one that was looked at.
    pub const fn info(&self) -> &PathInfo {
        &self.info
    }

    /// The whole address of the NAR.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How the NAR is compressed there.
    pub fn compression(&self) -> &str {
        &self.compression
    }

    /// The narinfo as Nix reads it.
    pub fn to_text(&self) -> String {
        self.info.text_at(&self.url, &self.compression)
    }

    /// The same as JSON, its keys those of the text.
    pub fn to_json(&self) -> serde_json::Value {
        self.info.json_at(&self.url, &self.compression)
    }

    /// What a cache says of the path that fetches its NAR when somebody asks for it. The size of what it sends is not known
    /// before.
    pub fn through(&self) -> PathInfo {
        PathInfo { file_hash: None, file_size: None, ..self.info.clone() }
    }
}

/// Where a NAR is that a cache names relative to itself. Nothing signs it: the client compares what it gets there with the hash.
fn absolute(base: &str, url: &str) -> Option<String> {
    if url.contains(|c: char| c.is_control() || c.is_whitespace()) {
        None
    } else if url.starts_with("https://") || url.starts_with("http://") {
        Some(url.to_owned())
    } else if url.contains("://") {
        None
    } else {
        Some(format!("{base}/{}", url.trim_start_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `nix copy` of Nix 2.8.0; see the vectors of `gradient-nix`.
    const NARINFO: &str = include_str!("../../gradient-nix/tests/vectors/signing/narinfo");
    const PUBLIC: &str = include_str!("../../gradient-nix/tests/vectors/signing/public");
    const BASE: &str = "https://cache.example/x";

    fn verify(text: &str) -> Result<ForeignPath, ForeignError> {
        let hash = "2vmnnlg2n5iiwmvhg8957fprn2bw0159".parse().unwrap();
        ForeignPath::verify(text.as_bytes(), hash, &PUBLIC.trim().parse().unwrap(), BASE)
    }

    #[test]
    fn only_the_address_of_the_nar_changes() {
        let found = verify(NARINFO).unwrap();
        assert_eq!(found.to_text(), NARINFO.replace("URL: nar/", "URL: https://cache.example/x/nar/"));
        let elsewhere = NARINFO.replace("URL: nar/", "URL: https://nars.example/");
        assert_eq!(verify(&elsewhere).unwrap().to_text(), elsewhere);
        let json = found.to_json();
        assert!(json["URL"].as_str().unwrap().starts_with("https://cache.example/x/nar/"));
        assert_eq!((&json["Compression"], &json["NarSize"]), (&"zstd".into(), &3024.into()));
        let plain = verify(&NARINFO.replace("Compression: zstd", "Compression: none")).unwrap();
        assert!(plain.to_text().contains("\nCompression: none\n"));
    }

    #[test]
    fn what_is_not_signed_so_does_not_count() {
        for (from, to) in
            [("NarSize: 3024", "NarSize: 3025"), ("Sig: cache.example-1:L", "Sig: cache.example-1:M"), ("-base", "-bass")]
        {
            assert!(matches!(verify(&NARINFO.replacen(from, to, 1)), Err(ForeignError::Unsigned(_))), "{to}");
        }
        let others = NARINFO.replace("Sig: cache.example-1", "Sig: cache.example-2");
        assert_eq!(verify(&others), Err(ForeignError::Unsigned("cache.example-1".to_owned())));
        // A further signature is not passed on: nobody has looked at it.
        let two = format!("Sig: other:AAAA\n{NARINFO}");
        assert_eq!(verify(&two).unwrap(), verify(NARINFO).unwrap());
    }

    #[test]
    fn another_path_does_not_count() {
        let other = NARINFO.replacen("2vmnnlg2n5iiwmvhg8957fprn2bw0159-tree", "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-tree", 1);
        assert!(matches!(verify(&other), Err(ForeignError::OtherPath(_))));
    }

    #[test]
    fn nonsense_does_not_count() {
        let strange = ["URL: file:///etc/passwd", "URL: nar/a b", "URL: ", "URL: ssh://host/x"].map(|url| {
            let lines = NARINFO.lines().map(|line| if line.starts_with("URL:") { url } else { line });
            lines.collect::<Vec<_>>().join("\n")
        });
        for text in strange.iter().map(String::as_str).chain(["", "<html>", "StorePath: /etc/passwd\n", "\0"]) {
            assert!(matches!(verify(text), Err(ForeignError::Malformed(_))), "{text}");
        }
    }
}
