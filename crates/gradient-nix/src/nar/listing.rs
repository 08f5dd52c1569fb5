use std::collections::BTreeMap;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

/// What a NAR contains and where, in the format of Nix's `.ls` files, version 1. Names that are not UTF-8 are shown with
/// replacement characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    version: u32,
    root: Node,
}

/// Objects in JSON that may be nested in one another: two for each of 64 directories, and the outermost.
const MAX_JSON_DEPTH: usize = 2 * 64 + 1;

const VERSION: u32 = 1;

impl Listing {
    /// The listing of what `root` is.
    pub fn new(root: Node) -> Self {
        Self { version: VERSION, root }
    }

    /// The file, directory or symlink that the store path itself is.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// What is at `path`, names separated by slashes; the root for an empty path. Symlinks are not followed.
    pub fn find(&self, path: &str) -> Option<&Node> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(&self.root, |node, name| match node {
            Node::Directory { entries } => entries.get(name),
            Node::Regular { .. } | Node::Symlink { .. } => None,
        })
    }

    /// The text of an `.ls` file.
    pub fn to_json(&self) -> Result<Vec<u8>, ListingError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads an `.ls` file.
    pub fn from_json(json: &[u8]) -> Result<Self, ListingError> {
        if nesting(json) > MAX_JSON_DEPTH {
            return Err(ListingError::TooDeep);
        }
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        // A listing at NAR's bound of depth is just beyond the parser's own.
        deserializer.disable_recursion_limit();
        let listing = Self::deserialize(&mut deserializer)?;
        deserializer.end()?;
        match listing.version {
            VERSION => Ok(listing),
            found => Err(ListingError::Version { found }),
        }
    }
}

/// One file, directory or symlink.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Fields")]
pub enum Node {
    /// A directory.
    Directory {
        /// What is in it, by name.
        entries: BTreeMap<String, Node>,
    },
    /// A file.
    Regular {
        /// Whether it is a program.
        executable: bool,
        /// How long it is.
        size: u64,
        /// Where in the NAR its contents begin.
        nar_offset: u64,
    },
    /// A symlink.
    Symlink {
        /// Where it leads.
        target: String,
    },
}

/// A listing cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// Directories are nested deeper than in any NAR.
    #[error("the listing is nested deeper than a NAR can be")]
    TooDeep,
    /// It is of a version that is not known.
    #[error("the listing has version {found}, expected {VERSION}")]
    Version {
        /// The version it names.
        found: u32,
    },
    /// It is not JSON of a listing.
    #[error("not a listing: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The JSON object of a node as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    r#type: Kind,
    entries: Option<BTreeMap<String, Node>>,
    #[serde(default)]
    executable: bool,
    #[serde(default)]
    nar_offset: u64,
    size: Option<u64>,
    target: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Directory,
    Regular,
    Symlink,
}

impl TryFrom<Fields> for Node {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        match fields.r#type {
            Kind::Directory => fields.entries.map(|entries| Self::Directory { entries }).ok_or("a directory has no entries"),
            Kind::Regular => {
                let size = fields.size.ok_or("a file has no size")?;
                Ok(Self::Regular { executable: fields.executable, size, nar_offset: fields.nar_offset })
            }
            Kind::Symlink => fields.target.map(|target| Self::Symlink { target }).ok_or("a symlink has no target"),
        }
    }
}

/// Keys stand in the order that Nix 2.8 writes them; newer ones sort them.
impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        match self {
            Self::Directory { entries } => {
                object.serialize_entry("type", "directory")?;
                object.serialize_entry("entries", entries)?;
            }
            Self::Regular { executable, size, nar_offset } => {
                object.serialize_entry("type", "regular")?;
                object.serialize_entry("size", size)?;
                if *executable {
                    object.serialize_entry("executable", executable)?;
                }
                object.serialize_entry("narOffset", nar_offset)?;
            }
            Self::Symlink { target } => {
                object.serialize_entry("type", "symlink")?;
                object.serialize_entry("target", target)?;
            }
        }
        object.end()
    }
}

/// How deep arrays and objects are nested in a JSON text, whatever else is wrong with it.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
