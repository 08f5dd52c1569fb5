//! Files and folders with what this machine has: crates, and installed packages.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Sizes;

/// What compresses to about 20 KiB, of programs and libraries.
const SMALL_BYTES: usize = 48 << 10;

/// How many large files there are.
const LARGE: usize = 2;

/// Archives of crates are compressed: they stay as large as they are.
const LARGE_BYTES: usize = 50 << 20;

/// Folders that are larger are left out.
const MAX_DIRECTORY_BYTES: u64 = 4 << 20;

/// Makes them; where they are, and the bytes of all files.
pub(super) fn make(folder: &Path, sizes: Sizes) -> Result<(Vec<PathBuf>, u64)> {
    let (mut made, mut bytes) = (Vec::new(), 0);
    let programs = files_below(Path::new("/usr/lib"))?;
    for (number, piece) in Pieces::new(programs.clone(), SMALL_BYTES).take(sizes.small).enumerate() {
        put(folder, &format!("small-{number}"), &piece?, &mut made, &mut bytes)?;
    }
    let registry = cargo_home()?.join("registry");
    let mut archives = files_below(&registry.join("cache"))?;
    archives.retain(|path| path.extension().is_some_and(|it| it == "crate"));
    archives.extend(programs.iter().cloned());
    for (number, piece) in Pieces::new(archives, LARGE_BYTES).take(LARGE).enumerate() {
        put(folder, &format!("large-{number}"), &piece?, &mut made, &mut bytes)?;
    }
    if made.len() < sizes.small + LARGE {
        bail!("there are too few files in /usr/lib, or crates in {}", registry.display());
    }
    let packages = sizes.directories / 2;
    let mut sources = Vec::new();
    for index in folders_in(&registry.join("src"))? {
        sources.extend(folders_in(&index)?);
    }
    for source in sources {
        let name = source.file_name().and_then(|name| name.to_str()).unwrap_or("crate").replace('+', "-");
        let files = files_below(&source)?;
        take(folder, &format!("crate-{name}"), &source, &files, &mut made, &mut bytes)?;
        if made.len() == sizes.small + LARGE + sizes.directories - packages {
            break;
        }
    }
    for list in installed()? {
        let name = list.file_stem().and_then(|name| name.to_str()).unwrap_or("package").replace([':', '+'], "-");
        let files: Vec<PathBuf> = fs::read_to_string(&list)?.lines().map(PathBuf::from).filter(|path| is_file(path)).collect();
        take(folder, &format!("package-{name}"), Path::new("/"), &files, &mut made, &mut bytes)?;
        if made.len() == sizes.small + LARGE + sizes.directories {
            break;
        }
    }
    Ok((made, bytes))
}

fn put(folder: &Path, name: &str, content: &[u8], made: &mut Vec<PathBuf>, bytes: &mut u64) -> Result<()> {
    let file = folder.join(name);
    fs::write(&file, content)?;
    *bytes += u64::try_from(content.len())?;
    made.push(file);
    Ok(())
}

/// Copies files to a folder of their own, unless they are none or too large.
fn take(folder: &Path, name: &str, base: &Path, files: &[PathBuf], made: &mut Vec<PathBuf>, bytes: &mut u64) -> Result<()> {
    let sizes = files.iter().map(|file| fs::metadata(file).map(|meta| meta.len()));
    let size: u64 = sizes.sum::<std::io::Result<_>>()?;
    if size == 0 || size > MAX_DIRECTORY_BYTES {
        return Ok(());
    }
    let target = folder.join(name);
    for file in files {
        let copy = target.join(file.strip_prefix(base)?);
        fs::create_dir_all(copy.parent().unwrap_or(&target))?;
        fs::copy(file, copy)?;
    }
    *bytes += size;
    made.push(target);
    Ok(())
}

fn cargo_home() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).context("neither CARGO_HOME nor HOME is set")
}

/// The lists of the files of Debian's packages.
fn installed() -> Result<Vec<PathBuf>> {
    let all = files_below(Path::new("/var/lib/dpkg/info"))?;
    Ok(all.into_iter().filter(|path| path.extension().is_some_and(|it| it == "list")).collect())
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file()) && File::open(path).is_ok()
}

fn folders_in(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<BTreeSet<PathBuf>>>()?;
    Ok(paths.into_iter().filter(|path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())).collect())
}

/// The files in a folder and those below it, in the same order on each call.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        folders.extend(folders_in(&folder)?);
        let entries = fs::read_dir(&folder)?;
        let mut here = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        here.retain(|path| is_file(path));
        here.sort();
        files.extend(here);
    }
    Ok(files)
}

/// What is in files, one after the other, in pieces of the same size.
struct Pieces {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<File>,
    size: usize,
}

impl Pieces {
    fn new(files: Vec<PathBuf>, size: usize) -> Self {
        Self { files: files.into_iter(), open: None, size }
    }

    /// The next piece; none when what is left is less.
    fn read(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut piece = Vec::with_capacity(self.size);
        while piece.len() < self.size {
            let Some(open) = &mut self.open else {
                let Some(next) = self.files.next() else { return Ok(None) };
                self.open = Some(File::open(next)?);
                continue;
            };
            let missing = u64::try_from(self.size - piece.len()).unwrap_or(u64::MAX);
            if open.take(missing).read_to_end(&mut piece)? == 0 {
                self.open = None;
            }
        }
        Ok(Some(piece))
    }
}

impl Iterator for Pieces {
    type Item = std::io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
