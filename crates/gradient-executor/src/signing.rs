//! The secret keys that a worker signs with, and what it signs: that a cache has a path with a content, and nothing else.

use std::{fs, io, path::Path, str::FromStr};

use gradient_nix::{KeyError, SigningKey};
use gradient_protocol::MAX_SIGNING_KEYS;
use thiserror::Error;

/// What every text begins with that says what a store path's content is.
const FINGERPRINT: &str = "1;/nix/store/";

/// The secret keys of a worker.
#[derive(Debug, Clone, Default)]
pub struct SigningKeys(Vec<SigningKey>);

/// Why there are no keys to sign with.
#[derive(Debug, Error)]
pub enum SigningKeysError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// A line is no secret key.
    #[error("line {line} is no secret key as `nix-store --generate-binary-cache-key` makes it: {source}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        source: KeyError,
    },
    /// There is no key in it.
    #[error("has no key in it")]
    Empty,
    /// The server takes no more from one worker.
    #[error("has more than {MAX_SIGNING_KEYS} keys")]
    TooMany,
    /// Signatures tell keys apart by their names.
    #[error("has two keys with the name `{0}`")]
    SameName(String),
}

impl SigningKeys {
    /// Reads a file of keys.
    pub fn read(path: &Path) -> Result<Self, SigningKeysError> {
        fs::read_to_string(path)?.parse()
    }

    /// The public keys, as the server is told of them.
    pub(crate) fn public(&self) -> Vec<String> {
        self.0.iter().map(|key| key.public().to_string()).collect()
    }

    /// The signatures by the key whose public key this is; or why there are none, for a person.
    pub(crate) fn sign(&self, key: &str, fingerprints: &[String]) -> Result<Vec<String>, String> {
        let held = self.0.iter().find(|held| held.public().to_string() == key);
        let held =
            held.ok_or_else(|| format!("this worker does not have the key `{}`", key.chars().take(200).collect::<String>()))?;
        // Whoever trusts the key for what a cache has must not come to trust it for something else.
        if !fingerprints.iter().all(|text| text.starts_with(FINGERPRINT)) {
            return Err("this worker signs what says that a cache has a path, and nothing else".to_owned());
        }
        Ok(fingerprints.iter().map(|fingerprint| held.sign(fingerprint)).collect())
    }
}

impl FromStr for SigningKeys {
    type Err = SigningKeysError;

    /// One key a line, `name:base64`; empty lines and those that begin with `#` do not count.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut keys: Vec<SigningKey> = Vec::new();
        let lines = text.lines().map(str::trim).enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let wrong = |source| SigningKeysError::Line { line: number + 1, source };
            let key = SigningKey::from_nix_secret(line).map_err(wrong)?;
            if keys.iter().any(|other| other.name() == key.name()) {
                return Err(SigningKeysError::SameName(key.name().to_owned()));
            }
            keys.push(key);
        }
        if keys.len() > MAX_SIGNING_KEYS {
            return Err(SigningKeysError::TooMany);
        }
        if keys.is_empty() { Err(SigningKeysError::Empty) } else { Ok(Self(keys)) }
    }
}

#[cfg(test)]
mod tests {
    use gradient_nix::PublicKey;

    use super::*;

    /// Made by `nix-store --generate-binary-cache-key`.
    const ONE: &str = "cache.example-1:I7VyacR/Nm+WSQqPtcsVfWMhSsKHX8KExUgkuLQ4L/DnG/nS+ztFX/LFlRDhf04DEsfIheKv8TsYAh7vhVcwFQ==";
    const TWO: &str = "cache.example-2:Nbqsp/SikQO6ZyMhqk/veBWTMq4iMX8w71ULmb7TPnnbUv6N5yrzSyASOn22EuWNdjaWkvgrm5yf2YUzBEy2zg==";

    #[test]
    fn it_signs_with_the_key_that_is_asked_for() {
        let keys: SigningKeys = format!("# ours\n\n{ONE}\n{TWO}\n").parse().unwrap();
        let fingerprint = "1;/nix/store/7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello;sha256:x;120;".to_owned();
        assert_eq!(keys.public().len(), 2);
        for public in keys.public() {
            let signatures = keys.sign(&public, std::slice::from_ref(&fingerprint)).unwrap();
            let key: PublicKey = public.parse().unwrap();
            assert!(signatures.len() == 1 && key.verifies(&fingerprint, &signatures[0]));
        }
    }

    #[test]
    fn it_signs_nothing_else() {
        let keys: SigningKeys = ONE.parse().unwrap();
        let public = keys.public().remove(0);
        let fingerprint = "1;/nix/store/7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello;sha256:x;120;".to_owned();
        let other: SigningKeys = TWO.parse().unwrap();
        assert!(keys.sign(&other.public()[0], std::slice::from_ref(&fingerprint)).unwrap_err().contains("does not have the key"));
        assert!(keys.sign(&public, &[fingerprint, "anything".to_owned()]).unwrap_err().contains("nothing else"));
    }

    #[test]
    fn what_is_no_key_is_told_by_its_line() {
        let problem = |text: &str| text.parse::<SigningKeys>().unwrap_err().to_string();
        assert!(problem(&format!("{ONE}\nname:AAAA\n")).starts_with("line 2 is no secret key"));
        assert_eq!(problem("# nothing\n"), "has no key in it");
        assert_eq!(problem(&format!("{ONE}\n{ONE}")), "has two keys with the name `cache.example-1`");
    }
}
