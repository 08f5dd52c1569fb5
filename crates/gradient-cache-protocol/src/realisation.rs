//! What a content-addressed derivation's output turned out to be, in the two forms that Nix keeps it in: `realisations/` up to
//! Nix 2.34, `build-trace-v2/` from 2.35 on.

use std::{collections::BTreeMap, fmt};

use gradient_nix::{SigningKey, StorePath, nix_narinfo::UnkeyedRealisation};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::declared::{MAX_SIGNATURES, is_signature};

/// The most bytes of a realisation.
pub const MAX_BYTES: usize = 64 << 10;

/// An output of a derivation: what a realisation is about, and what its file is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RealisationName {
    /// `realisations/sha256:<hash modulo>!<output>.doi`
    Realisation {
        /// The derivation's hash modulo, 64 hexadecimal digits.
        hash: String,
        /// The output.
        output: String,
    },
    /// `build-trace-v2/<derivation>/<output>.doi`
    BuildTrace {
        /// The resolved derivation.
        derivation: StorePath,
        /// The output.
        output: String,
    },
}

/// What an output turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realisation {
    name: RealisationName,
    path: StorePath,
    /// Those of the inputs; only up to Nix 2.34.
    dependents: BTreeMap<String, String>,
    signatures: Vec<String>,
}

/// Why a realisation is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RealisationError {
    /// It is none.
    #[error("it is no realisation: {0}")]
    Malformed(String),
    /// It is about another output than its file.
    #[error("it is about {0}")]
    OtherOutput(String),
}

impl RealisationName {
    /// Of a file below `realisations/`: `sha256:<64 hexadecimal digits>!<output>`, without `.doi`.
    pub fn of_realisation(file: &str) -> Option<Self> {
        let (hash, output) = file.strip_prefix("sha256:")?.split_once('!')?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_hash && is_output(output)).then(|| Self::Realisation { hash: hash.to_owned(), output: output.to_owned() })
    }

    /// Of a file below `build-trace-v2/<derivation>/`, without `.doi`.
    pub fn of_build_trace(derivation: &str, output: &str) -> Option<Self> {
        let derivation: StorePath = derivation.parse().ok()?;
        let fits = derivation.is_derivation() && is_output(output);
        fits.then(|| Self::BuildTrace { derivation, output: output.to_owned() })
    }
}

/// Nix's rule for what is part of a store path's name.
fn is_output(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte);
    !name.is_empty() && name.len() <= 211 && name.bytes().all(allowed)
}

/// The file, relative to the cache.
impl fmt::Display for RealisationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realisation { hash, output } => write!(f, "realisations/sha256:{hash}!{output}.doi"),
            Self::BuildTrace { derivation, output } => write!(f, "build-trace-v2/{derivation}/{output}.doi"),
        }
    }
}

impl Realisation {
    /// Puts together what [`path`](Self::path), [`dependents`](Self::dependents) and [`signatures`](Self::signatures) gave.
    pub fn new(name: RealisationName, path: StorePath, dependents: BTreeMap<String, String>, signatures: Vec<String>) -> Self {
        Self { name, path, dependents, signatures }
    }

    /// Reads the file of this name. Of its signatures the first few are kept.
    pub fn parse(name: RealisationName, json: &[u8]) -> Result<Self, RealisationError> {
        let malformed = |error: &dyn fmt::Display| RealisationError::Malformed(error.to_string());
        match &name {
            RealisationName::Realisation { hash, output } => {
                let read: Keyed = serde_json::from_slice(json).map_err(|error| malformed(&error))?;
                if read.id != format!("sha256:{hash}!{output}") {
                    return Err(RealisationError::OtherOutput(read.id.chars().take(300).collect()));
                }
                let signatures = read.signatures.into_iter().filter(|one| is_signature(one)).take(MAX_SIGNATURES).collect();
                Ok(Self { name, path: read.out_path, dependents: read.dependent_realisations, signatures })
            }
            RealisationName::BuildTrace { .. } => {
                let read = UnkeyedRealisation::parse(json).map_err(|error| malformed(&error))?;
                let signatures = read.signatures().iter().map(|one| format!("{}:{}", one.key_name, one.encoded));
                let signatures = signatures.filter(|one| is_signature(one)).take(MAX_SIGNATURES).collect();
                Ok(Self { name, path: read.out_path().clone().into(), dependents: BTreeMap::new(), signatures })
            }
        }
    }

    /// What it is about.
    pub const fn name(&self) -> &RealisationName {
        &self.name
    }

    /// What the output turned out to be.
    pub const fn path(&self) -> &StorePath {
        &self.path
    }

    /// The realisations of its inputs, by what they are about.
    pub const fn dependents(&self) -> &BTreeMap<String, String> {
        &self.dependents
    }

    /// Its signatures, `name:base64`.
    pub fn signatures(&self) -> &[String] {
        &self.signatures
    }

    /// Adds the signature of `key`, in the place of an older one of the same name.
    pub fn sign(&mut self, key: &SigningKey) {
        let signature = key.sign(&self.fingerprint());
        self.signatures.retain(|other| other.split_once(':').is_none_or(|(name, _)| name != key.name()));
        self.signatures.push(signature);
    }

    /// What is signed: the JSON without signatures, its keys in order, nothing between them.
    fn fingerprint(&self) -> String {
        let path = &self.path;
        match &self.name {
            RealisationName::Realisation { hash, output } => serde_json::json!({
                "dependentRealisations": self.dependents, "id": format!("sha256:{hash}!{output}"), "outPath": path,
            }),
            RealisationName::BuildTrace { derivation, output } => serde_json::json!({
                "key": {"drvPath": derivation, "outputName": output}, "value": {"outPath": path},
            }),
        }
        .to_string()
    }

    /// The file as Nix reads it.
    pub fn to_json(&self) -> String {
        let path = &self.path;
        match &self.name {
            RealisationName::Realisation { hash, output } => serde_json::json!({
                "dependentRealisations": self.dependents, "id": format!("sha256:{hash}!{output}"), "outPath": path,
                "signatures": self.signatures,
            }),
            RealisationName::BuildTrace { .. } => {
                let parts = self.signatures.iter().filter_map(|signature| signature.split_once(':'));
                let signatures: Vec<_> = parts.map(|(name, sig)| serde_json::json!({"keyName": name, "sig": sig})).collect();
                serde_json::json!({"outPath": path, "signatures": signatures})
            }
        }
        .to_string()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keyed {
    id: String,
    out_path: StorePath,
    #[serde(default)]
    signatures: Vec<String>,
    #[serde(default)]
    dependent_realisations: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by `nix copy` of Nix 2.8.0 and 2.34.8 alike.
    const SENT: &str = r#"{"dependentRealisations":{},"id":"sha256:cd3fb99ab4ff9a748dba4d04fb9923d0b19103600a14c6381c1402e7419ee295!out","outPath":"qkcjym7f4s8gzgna572cn811pjqm9cj4-ca","signatures":[]}"#;
    const FILE: &str = "sha256:cd3fb99ab4ff9a748dba4d04fb9923d0b19103600a14c6381c1402e7419ee295!out";
    const DERIVATION: &str = "ra2vkfk0z5161s8p41ja29xvbs9h378s-a.drv";

    fn key() -> SigningKey {
        SigningKey::from_bytes("cache.example-1", &[7; 32]).unwrap()
    }

    #[test]
    fn what_nix_sends_comes_back() {
        let name = RealisationName::of_realisation(FILE).unwrap();
        assert_eq!(name.to_string(), format!("realisations/{FILE}.doi"));
        let mut read = Realisation::parse(name, SENT.as_bytes()).unwrap();
        assert_eq!(read.to_json(), SENT);
        read.sign(&key());
        read.sign(&key());
        assert_eq!(read.signatures().len(), 1);
        let fingerprint = SENT.replace(",\"signatures\":[]", "");
        assert!(key().public().verifies(&fingerprint, &read.signatures()[0]));
    }

    #[test]
    fn the_newer_form_is_signed_as_the_format_crate_signs_it() {
        use gradient_nix::nix_narinfo::TrustedPublicKey;
        let name = RealisationName::of_build_trace(DERIVATION, "out").unwrap();
        assert_eq!(name.to_string(), format!("build-trace-v2/{DERIVATION}/out.doi"));
        let sent = r#"{"outPath":"qkcjym7f4s8gzgna572cn811pjqm9cj4-ca","signatures":[{"keyName":"a","sig":"AA=="}]}"#;
        let mut read = Realisation::parse(name, sent.as_bytes()).unwrap();
        assert_eq!(read.to_json(), sent);
        read.sign(&key());
        let again = UnkeyedRealisation::parse(read.to_json().as_bytes()).unwrap();
        let derivation: StorePath = DERIVATION.parse().unwrap();
        let id = gradient_nix::nix_derivation::DrvOutput::new(derivation.into(), "out");
        let keys = [TrustedPublicKey::parse(&key().public().to_string()).unwrap()];
        assert_eq!(again.count_valid_signatures(&id, &keys), 1);
    }

    #[test]
    fn what_is_no_signature_is_not_kept() {
        let name = RealisationName::of_realisation(FILE).unwrap();
        let sent = SENT.replace("[]", r#"["a b:c", "nul:\u0000", "nothing", "good:AA=="]"#);
        assert_eq!(Realisation::parse(name, sent.as_bytes()).unwrap().signatures(), ["good:AA=="]);
    }

    #[test]
    fn names_and_bodies_have_to_fit() {
        for wrong in
            ["", "sha256:cd3f!out", "sha1:x!out", &FILE.replace("!out", ""), &FILE.replace("!out", "!../x"), &FILE.to_uppercase()]
        {
            assert!(RealisationName::of_realisation(wrong).is_none(), "{wrong}");
        }
        assert!(RealisationName::of_build_trace("qkcjym7f4s8gzgna572cn811pjqm9cj4-ca", "out").is_none(), "not a derivation");
        let other = RealisationName::of_realisation(&FILE.replace("!out", "!dev")).unwrap();
        assert!(matches!(Realisation::parse(other.clone(), SENT.as_bytes()), Err(RealisationError::OtherOutput(_))));
        assert!(matches!(Realisation::parse(other, b"[]"), Err(RealisationError::Malformed(_))));
    }
}
