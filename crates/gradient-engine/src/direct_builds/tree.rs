//! A source tree whose files are parts of one spool on the disk: names that a client chose never reach the file system.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

use gradient_nix::nar::Encoder;

use super::SourcePath;

/// A directory of a source tree. Its names are in the order that a NAR has them in.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<String, Node>);

#[derive(Debug)]
enum Node {
    File(Part),
    Directory(Tree),
}

/// A file, as it is in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) executable: bool,
}

/// Why there is no place for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// There is such a file already.
    Twice,
    /// One of the two is a directory, as another file is inside of it.
    Directory,
}

impl Tree {
    /// Whether a file of this name is at the top.
    pub(super) fn has_file(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Node::File(_)))
    }

    /// Adds a file.
    pub(super) fn insert(&mut self, path: &SourcePath, part: Part) -> Result<(), Taken> {
        let mut directory = self;
        let mut names = path.names().peekable();
        while let Some(name) = names.next() {
            let entry = directory.0.entry(name.to_owned());
            if names.peek().is_none() {
                return match entry {
                    Entry::Vacant(vacant) => {
                        vacant.insert(Node::File(part));
                        Ok(())
                    }
                    Entry::Occupied(occupied) => Err(match occupied.get() {
                        Node::File(_) => Taken::Twice,
                        Node::Directory(_) => Taken::Directory,
                    }),
                };
            }
            directory = match entry.or_insert_with(|| Node::Directory(Self::default())) {
                Node::Directory(inner) => inner,
                Node::File(_) => return Err(Taken::Directory),
            };
        }
        Ok(())
    }

    /// Writes the tree as a NAR.
    pub(super) fn write_nar(&self, spool: &mut File, to: impl Write) -> io::Result<()> {
        let mut nar = Encoder::new(to).map_err(io::Error::other)?;
        nar.start_directory(None).map_err(io::Error::other)?;
        self.write_entries(spool, &mut nar)?;
        nar.end_directory().map_err(io::Error::other)?;
        nar.finish().map_err(io::Error::other)?.flush()
    }

    fn write_entries<W: Write>(&self, spool: &mut File, nar: &mut Encoder<W>) -> io::Result<()> {
        for (name, node) in &self.0 {
            let name = Some(name.as_bytes());
            match node {
                Node::File(part) => {
                    spool.seek(SeekFrom::Start(part.offset))?;
                    let mut file = nar.start_regular(name, part.executable, part.size).map_err(io::Error::other)?;
                    io::copy(&mut spool.take(part.size), &mut file)?;
                    file.finish().map_err(io::Error::other)?;
                }
                Node::Directory(inner) => {
                    nar.start_directory(name).map_err(io::Error::other)?;
                    inner.write_entries(spool, nar)?;
                    nar.end_directory().map_err(io::Error::other)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_or_a_directory_and_only_once() {
        let mut tree = Tree::default();
        let mut insert = |path: &str| tree.insert(&path.parse().unwrap(), Part { offset: 0, size: 0, executable: false });
        assert_eq!(insert("a/b"), Ok(()));
        assert_eq!(insert("a/c/d"), Ok(()));
        assert_eq!(insert("a/b"), Err(Taken::Twice));
        assert_eq!(insert("a"), Err(Taken::Directory));
        assert_eq!(insert("a/c"), Err(Taken::Directory));
        assert_eq!(insert("a/b/c"), Err(Taken::Directory));
        assert_eq!(insert("a!"), Ok(()));
    }
}
