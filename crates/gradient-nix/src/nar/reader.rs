use std::cell::Cell;
use std::io::{self, Read, Write};

use nix_archive::nar::{ReadEvent, decode_events_reader};

use super::{Listing, Node};
use crate::build_products;

/// How long a name in a directory may be: what Linux can hold.
pub const MAX_NAME_BYTES: usize = 255;
/// How long the target of a symlink may be: what Linux can hold.
pub const MAX_TARGET_BYTES: usize = 4095;
/// How many files, directories and symlinks one NAR may have: what bounds the memory of its listing.
pub const MAX_ENTRIES: usize = 2_000_000;

/// Reads a whole NAR, in the form Nix writes it and no other, and lists what is in it. `reader` should be buffered. The depth of
/// directories is at most 64, Nix's own bound. File contents are passed over, so memory does not grow with them.
pub fn read(reader: impl Read) -> Result<Listing, NarError> {
    read_with_files(reader, Files { root: &mut io::sink(), build_products: &mut io::sink() })
}

/// Where the contents of two files of a NAR are copied to.
pub struct Files<'a> {
    /// The NAR itself, when it is a single file: that is what a flat hash is of.
    pub root: &'a mut dyn Write,
    /// The file that declares [build products](crate::build_products), when it is there.
    pub build_products: &'a mut dyn Write,
}

/// As [`read`], and copies files that are of interest as they pass.
pub fn read_with_files(reader: impl Read, files: Files<'_>) -> Result<Listing, NarError> {
    let Files { root, build_products: products } = files;
    let offset = Cell::new(0);
    let mut reader = Counting { inner: reader, offset: &offset };
    let mut tree = Tree::default();
    let mut refusal = None;
    let outcome = decode_events_reader(&mut reader, |event| {
        let added = match event {
            ReadEvent::DirectoryStart { name } => tree.open(name),
            ReadEvent::DirectoryEnd { .. } => {
                tree.close();
                Ok(())
            }
            ReadEvent::Symlink { name, target } => tree.symlink(name, target),
            ReadEvent::Regular { name, executable, mut contents } => {
                let node = Node::Regular { executable, size: contents.size(), nar_offset: offset.get() };
                if name.is_none() {
                    contents.copy_to(root)?;
                } else if tree.is_at(name, build_products::FILE) {
                    contents.copy_to(products)?;
                }
                tree.add(name, node)
            }
        };
        added.map_err(|error| {
            refusal = Some(error);
            nix_archive::nar::Error::InvalidEncoderEvent("refused")
        })
    });
    match (refusal, outcome) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(nix_archive::nar::Error::Io(source))) => Err(NarError::Read(source)),
        (None, Err(source)) => Err(NarError::Malformed(source)),
        (None, Ok(())) => tree.root.map(Listing::new).ok_or(NarError::Malformed(nix_archive::nar::Error::UnexpectedEof)),
    }
}

/// Why bytes are not a NAR that is accepted.
#[derive(Debug, thiserror::Error)]
pub enum NarError {
    /// The bytes could not be read.
    #[error("the NAR could not be read: {0}")]
    Read(#[source] io::Error),
    /// The bytes are not a NAR as Nix writes it.
    #[error("not a NAR as Nix writes it: {0}")]
    Malformed(#[source] nix_archive::nar::Error),
    /// A name does not fit into a directory.
    #[error("a name in the NAR has {found} bytes, more than {MAX_NAME_BYTES}")]
    NameTooLong {
        /// How long it is.
        found: usize,
    },
    /// A symlink's target is empty, too long or has a NUL in it.
    #[error("a symlink's target in the NAR has {found} bytes; 1 to {MAX_TARGET_BYTES} without NUL are possible")]
    Target {
        /// How long it is.
        found: usize,
    },
    /// There is more in it than is accepted.
    #[error("the NAR has more than {MAX_ENTRIES} files, directories and symlinks")]
    TooManyEntries,
}

struct Counting<'a, R> {
    inner: R,
    offset: &'a Cell<u64>,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.offset.set(self.offset.get() + count as u64);
        Ok(count)
    }
}

/// The directories that are open, from the root down, each with its name.
#[derive(Default)]
struct Tree {
    open: Vec<(Option<String>, Node)>,
    root: Option<Node>,
    entries: usize,
}

impl Tree {
    fn open(&mut self, name: Option<&[u8]>) -> Result<(), NarError> {
        let name = self.admit(name)?;
        self.open.push((name, Node::Directory { entries: std::collections::BTreeMap::new() }));
        Ok(())
    }

    fn close(&mut self) {
        if let Some((name, node)) = self.open.pop() {
            self.attach(name, node);
        }
    }

    fn symlink(&mut self, name: Option<&[u8]>, target: &[u8]) -> Result<(), NarError> {
        if target.is_empty() || target.len() > MAX_TARGET_BYTES || target.contains(&0) {
            return Err(NarError::Target { found: target.len() });
        }
        self.add(name, Node::Symlink { target: String::from_utf8_lossy(target).into_owned() })
    }

    fn add(&mut self, name: Option<&[u8]>, node: Node) -> Result<(), NarError> {
        let name = self.admit(name)?;
        self.attach(name, node);
        Ok(())
    }

    /// Whether something of this name in the innermost open directory is what `path` leads to.
    fn is_at(&self, name: Option<&[u8]>, path: &str) -> bool {
        let open = self.open.iter().filter_map(|(name, _)| name.as_deref());
        path.split('/').map(str::as_bytes).eq(open.map(str::as_bytes).chain(name))
    }

    fn attach(&mut self, name: Option<String>, node: Node) {
        match (self.open.last_mut(), name) {
            (Some((_, Node::Directory { entries })), Some(name)) => {
                entries.insert(name, node);
            }
            _ => self.root = Some(node),
        }
    }

    fn admit(&mut self, name: Option<&[u8]>) -> Result<Option<String>, NarError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(NarError::TooManyEntries);
        }
        match name {
            Some(name) if name.len() > MAX_NAME_BYTES => Err(NarError::NameTooLong { found: name.len() }),
            name => Ok(name.map(|name| String::from_utf8_lossy(name).into_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
