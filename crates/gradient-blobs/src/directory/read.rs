//! Reading the directory's files. What the kernel has in memory is read in place, for to hand it to another thread costs more than to
//! read it; what would wait for a disk is left to a thread that may wait.

use std::{
    fs::File,
    io::{self, ErrorKind, IoSliceMut},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::{Errno, ReadWriteFlags, preadv2},
};

use super::{Directory, at, blocking};
use crate::{Blob, BlobError, BlobKey};

/// How much of a file is in memory while it is read.
const CHUNK: u64 = 256 << 10;

impl Directory {
    /// Opens a blob, or a part of it. `None` when there is none, [`BlobError::Range`] when it has no byte in the range.
    pub(crate) async fn read(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<Option<Blob>, BlobError> {
        let path = self.join(key.as_str());
        let file = if let Some(opened) = open_in_place(&path) {
            opened
        } else {
            let path = path.clone();
            blocking(path.clone(), move || Ok(File::open(path))).await?
        };
        let file = match file {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => at(&path, opened)?,
        };
        let size = at(&path, file.metadata())?.len();
        let range = match range {
            None => 0..size,
            Some(range) if range.start < range.end.min(size) => range.start..range.end.min(size),
            Some(range) => return Err(BlobError::Range { key: key.to_string(), range, size }),
        };
        Ok(Some(blob(file, path, key, size, range)))
    }

    /// Opens a blob, when that can be done without waiting.
    pub(crate) fn read_in_place(&self, key: &BlobKey) -> Option<Blob> {
        let path = self.join(key.as_str());
        let file = open_in_place(&path)?.ok()?;
        let size = file.metadata().ok()?.len();
        Some(blob(file, path, key, size, 0..size))
    }
}

fn blob(file: File, path: PathBuf, key: &BlobKey, size: u64, range: Range<u64>) -> Blob {
    let reading = Reading { file: Arc::new(file), path, key: key.clone(), rest: range.clone() };
    Blob { size, range, stream: stream::try_unfold(reading, Reading::next).boxed() }
}

/// `None` when it is not known without waiting, on file systems and kernels that can tell.
fn open_in_place(path: &Path) -> Option<io::Result<File>> {
    match openat2(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED) {
        Ok(file) => Some(Ok(file.into())),
        Err(Errno::NOENT) => Some(Err(ErrorKind::NotFound.into())),
        Err(_) => None,
    }
}

/// A file that is being read.
struct Reading {
    file: Arc<File>,
    path: PathBuf,
    key: BlobKey,
    rest: Range<u64>,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BlobError> {
        let length = (self.rest.end - self.rest.start).min(CHUNK);
        let Ok(capacity) = usize::try_from(length) else { return Ok(None) };
        if capacity == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; capacity];
        let in_place = preadv2(&self.file, &mut [IoSliceMut::new(&mut chunk)], self.rest.start, ReadWriteFlags::NOWAIT);
        let read = match in_place {
            Ok(read) if read > 0 => read,
            _ => {
                let (file, offset) = (Arc::clone(&self.file), self.rest.start);
                let read = blocking(self.path.clone(), move || Ok(file.read_at(&mut chunk, offset).map(|read| (read, chunk))));
                let failed = |source| BlobError::Read { key: self.key.to_string(), source };
                let (read, filled) = read.await?.map_err(failed)?;
                if read == 0 {
                    return Err(failed(ErrorKind::UnexpectedEof.into()));
                }
                chunk = filled;
                read
            }
        };
        chunk.truncate(read);
        self.rest.start += u64::try_from(read).unwrap_or(length);
        Ok(Some((chunk.into(), self)))
    }
}
