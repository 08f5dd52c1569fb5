//! Directories as tar archives: the same directory is always the same archive.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use gradient_nix::nar::Node;
use tar::{Builder, EntryType, Header};

use super::extraction::Contents;

const DIRECTORY_MODE: u32 = 0o755;
const PROGRAM_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
const SYMLINK_MODE: u32 = 0o777;

/// What goes into an archive. Directories come first, by name; then files as they follow one another in the NAR, which is read
/// only once; symlinks come last, so that nothing is unpacked through one.
pub(super) struct Entries {
    directories: Vec<String>,
    files: Vec<File>,
    symlinks: Vec<(String, String)>,
}

struct File {
    path: String,
    nar_offset: u64,
    size: u64,
    executable: bool,
}

impl Entries {
    /// A directory with what is in it, below `name`.
    pub(super) fn new(name: &str, entries: &BTreeMap<String, Node>) -> Self {
        let mut all = Self { directories: Vec::new(), files: Vec::new(), symlinks: Vec::new() };
        all.add(name.to_owned(), entries);
        all.files.sort_by_key(|file| file.nar_offset);
        all
    }

    fn add(&mut self, directory: String, entries: &BTreeMap<String, Node>) {
        for (name, node) in entries {
            let path = format!("{directory}/{name}");
            match node {
                Node::Directory { entries } => self.add(path, entries),
                Node::Regular { executable, size, nar_offset } => {
                    self.files.push(File { path, nar_offset: *nar_offset, size: *size, executable: *executable });
                }
                Node::Symlink { target } => self.symlinks.push((path, target.clone())),
            }
        }
        self.directories.push(directory);
    }

    /// Writes the archive.
    pub(super) fn write<R: Read>(mut self, nar: &mut Contents<R>, to: impl Write) -> io::Result<()> {
        self.directories.sort();
        let mut archive = Builder::new(zstd::Encoder::new(to, zstd::DEFAULT_COMPRESSION_LEVEL)?);
        for path in self.directories {
            let mut header = header(EntryType::Directory, DIRECTORY_MODE, 0);
            archive.append_data(&mut header, format!("{path}/"), io::empty())?;
        }
        for file in self.files {
            let mode = if file.executable { PROGRAM_MODE } else { FILE_MODE };
            let mut header = header(EntryType::Regular, mode, file.size);
            if file.size > 0 {
                nar.skip_to(file.nar_offset)?;
            }
            archive.append_data(&mut header, file.path, nar.exactly(file.size))?;
        }
        for (path, target) in self.symlinks {
            let mut header = header(EntryType::Symlink, SYMLINK_MODE, 0);
            archive.append_link(&mut header, path, target)?;
        }
        archive.into_inner()?.finish()?.flush()
    }
}

fn header(entry_type: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
