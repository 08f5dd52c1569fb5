use std::{fmt, str::FromStr};

use gradient_nix::NarHash;

/// How a client names a NAR that it uploads, `<hash>.nar` with an extension for its compression. Nix takes the hash of the file,
/// others that of the NAR.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NarFileName {
    hash: NarHash,
    extension: String,
}

/// A text is not the name of a NAR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name a NAR: that is <52 characters of Nix's base32>.nar, and .xz or the like behind it")]
pub struct NarFileNameError(String);

/// Nix's longest is `.lzip`.
const MAX_EXTENSION: usize = 10;

impl NarFileName {
    /// What the file, or the NAR in it, is claimed to hash to.
    pub const fn hash(&self) -> NarHash {
        self.hash
    }

    /// What is behind `.nar.`; nothing for what is not compressed, and for what Nix has no extension for.
    pub fn extension(&self) -> &str {
        &self.extension
    }
}

impl fmt::Display for NarFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.extension.is_empty() { "" } else { "." };
        write!(f, "{}.nar{dot}{}", self.hash.to_nix32(), self.extension)
    }
}

impl FromStr for NarFileName {
    type Err = NarFileNameError;

    fn from_str(text: &str) -> Result<Self, NarFileNameError> {
        let refused = || NarFileNameError(text.chars().take(80).collect());
        let (hash, rest) = text.split_once(".nar").ok_or_else(refused)?;
        let extension = match rest.strip_prefix('.') {
            Some(extension) if !extension.is_empty() && extension.len() <= MAX_EXTENSION => extension,
            None if rest.is_empty() => "",
            Some(_) | None => return Err(refused()),
        };
        if !extension.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            return Err(refused());
        }
        let hash = NarHash::from_nix32(hash).map_err(|_| refused())?;
        Ok(Self { hash, extension: extension.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nix_writes_is_a_name() {
        let hash = "1xsjkazpfgyyy38br89kz2plvdb4dkqcjl5mh0n2py3ndf0sc48j";
        for (extension, rest) in [("", ""), ("xz", ".xz"), ("bz2", ".bz2"), ("lz4", ".lz4")] {
            let text = format!("{hash}.nar{rest}");
            let name: NarFileName = text.parse().unwrap();
            assert_eq!((name.extension(), name.hash().to_nix32().as_str()), (extension, hash));
            assert_eq!(name.to_string(), text);
        }
        for rest in ["", ".na", ".nar.", ".narxz", ".nar.XZ", ".nar.xz/", ".nar.tar.gz", ".nar.abcdefghijk", ".nar.\u{e9}"] {
            assert!(format!("{hash}{rest}").parse::<NarFileName>().is_err(), "{rest}");
        }
        assert!("../x.nar".parse::<NarFileName>().is_err());
    }
}
