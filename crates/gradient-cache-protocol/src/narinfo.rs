//! What a cache says of a store path.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use gradient_nix::{CAHash, NarHash, SigningKey, StorePath};
use serde::Serialize;

/// A store path as a cache serves it: all that goes into its narinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The size of its NAR in bytes; never 0.
    pub nar_size: u64,
    /// The hash of the compressed NAR.
    pub file_hash: Option<NarHash>,
    /// The size of the compressed NAR in bytes.
    pub file_size: Option<u64>,
    /// What it refers to, itself included where it does.
    pub references: BTreeSet<StorePath>,
    /// The derivation that it is an output of.
    pub deriver: Option<StorePath>,
    /// What its path follows from, when that is its content.
    pub content_address: Option<CAHash>,
    /// `name:base64` each. One that would not fit into a line is never served.
    pub signatures: Vec<String>,
}

/// The content type of a narinfo's text.
pub const CONTENT_TYPE: &str = "text/x-nix-narinfo";

/// How all NARs are stored and served.
pub const COMPRESSION: &str = "zstd";

impl PathInfo {
    /// Where its NAR is, relative to the cache.
    pub fn url(&self) -> String {
        format!("nar/{}.nar.zst", self.nar_hash.to_nix32())
    }

    /// The same with the path that it is asked for as: the cache may have to look for it by that.
    pub fn url_of_path(&self) -> String {
        format!("{}?hash={}", self.url(), self.path.hash())
    }

    /// What is signed: everything that a client has to believe of the path.
    pub fn fingerprint(&self) -> String {
        Self::fingerprint_of(&self.path, &self.nar_hash, self.nar_size, &self.references)
    }

    /// The same of a path that is not served yet.
    pub fn fingerprint_of(path: &StorePath, nar_hash: &NarHash, nar_size: u64, references: &BTreeSet<StorePath>) -> String {
        let references: Vec<_> = references.iter().map(StorePath::to_absolute).collect();
        format!("1;{};{nar_hash};{nar_size};{}", path.to_absolute(), references.join(","))
    }

    /// Adds the signature of `key`, in the place of an older one of the same name.
    pub fn sign(&mut self, key: &SigningKey) {
        let signature = key.sign(&self.fingerprint());
        self.add_signature(signature);
    }

    /// Adds a signature, in the place of an older one of the same name.
    pub fn add_signature(&mut self, signature: String) {
        let name = |signature: &str| signature.split_once(':').map(|(name, _)| name.to_owned());
        let added = name(&signature);
        self.signatures.retain(|other| added.is_none() || name(other) != added);
        self.signatures.push(signature);
    }

    /// The narinfo as Nix reads and writes it.
    pub fn to_text(&self) -> String {
        self.text_at(&self.url(), COMPRESSION)
    }

    /// The narinfo with its NAR at a URL, compressed that way.
    pub fn text_at(&self, url: &str, compression: &str) -> String {
        let mut text = format!("StorePath: {}\nURL: {url}\nCompression: {compression}\n", self.path.to_absolute());
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}: {value}");
        };
        if let Some(hash) = &self.file_hash {
            line("FileHash", hash);
        }
        if let Some(size) = &self.file_size {
            line("FileSize", size);
        }
        line("NarHash", &self.nar_hash);
        line("NarSize", &self.nar_size);
        let references: Vec<_> = self.references.iter().map(StorePath::to_string).collect();
        line("References", &references.join(" "));
        if let Some(deriver) = &self.deriver {
            line("Deriver", deriver);
        }
        for signature in self.servable_signatures() {
            line("Sig", &signature);
        }
        if let Some(address) = &self.content_address {
            line("CA", address);
        }
        text
    }

    /// The narinfo as JSON, its keys those of the text.
    pub fn to_json(&self) -> serde_json::Value {
        self.json_at(&self.url(), COMPRESSION)
    }

    /// The JSON with its NAR at a URL, compressed that way.
    pub fn json_at(&self, url: &str, compression: &str) -> serde_json::Value {
        let json = Json {
            store_path: self.path.to_absolute(),
            url,
            compression,
            file_hash: self.file_hash,
            file_size: self.file_size,
            nar_hash: self.nar_hash,
            nar_size: self.nar_size,
            references: &self.references,
            deriver: self.deriver.as_ref(),
            sig: self.servable_signatures().collect(),
            ca: self.content_address.as_ref().map(CAHash::to_string),
        };
        serde_json::json!(json)
    }

    fn servable_signatures(&self) -> impl Iterator<Item = &str> {
        let fits = |signature: &&str| !signature.is_empty() && !signature.contains(|c: char| c.is_control() || c.is_whitespace());
        self.signatures.iter().map(String::as_str).filter(fits)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Json<'a> {
    store_path: String,
    #[serde(rename = "URL")]
    url: &'a str,
    compression: &'a str,
    file_hash: Option<NarHash>,
    file_size: Option<u64>,
    nar_hash: NarHash,
    nar_size: u64,
    references: &'a BTreeSet<StorePath>,
    deriver: Option<&'a StorePath>,
    sig: Vec<&'a str>,
    #[serde(rename = "CA")]
    ca: Option<String>,
}

#[cfg(test)]
mod tests;
