//! NARs of local paths, in constant memory: written for an upload, restored from a download.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use gradient_nix::nar::{CaseHack, encode_path, restore_reader};
use tokio::{io::AsyncRead, sync::mpsc, task::spawn_blocking, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::SyncIoBridge;

/// What goes through the channel at once, and how often that fits into it.
const PIECE_BYTES: usize = 64 << 10;
const PIECES: usize = 8;

/// Restoring may take this long in all.
const RESTORE_TIME: Duration = Duration::from_hours(1);

/// A compressed NAR on its way out.
pub(crate) type Compressed = ReceiverStream<io::Result<Bytes>>;

/// A local file tree whose NAR can be sent, again when that fails.
#[derive(Debug)]
pub(crate) struct NarFile {
    path: PathBuf,
    error: Arc<Mutex<Option<io::Error>>>,
}

impl NarFile {
    /// The tree at `path`.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, error: Arc::default() }
    }

    /// Its zstd-compressed NAR, always the same bytes, so that one can go on where another broke off: it is compressed where it is
    /// read, as what compresses in between flushes whenever it has to wait. An error in reading the tree breaks it off, so that nobody
    /// takes it for whole.
    pub(crate) fn stream(&self) -> Compressed {
        let (pieces, received) = mpsc::channel::<io::Result<Bytes>>(PIECES);
        let (path, errors) = (self.path.clone(), Arc::clone(&self.error));
        spawn_blocking(move || {
            let Err(error) = write(&path, pieces.clone()) else { return };
            if !pieces.is_closed() {
                let text = error.to_string();
                errors.lock().unwrap_or_else(PoisonError::into_inner).replace(error);
                // Who reads may be gone by now, which is as good.
                let _ = pieces.blocking_send(Err(io::Error::other(text)));
            }
        });
        ReceiverStream::new(received)
    }

    /// Why the tree could not be read, if it could not.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn write(path: &Path, pieces: mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let writer = BufWriter::with_capacity(PIECE_BYTES, Pieces(pieces));
    let mut encoder = zstd::Encoder::new(writer, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    encode_path(&mut encoder, path, CaseHack::Disabled).map_err(io::Error::other)?;
    encoder.finish()?.flush()
}

/// Hands what is written to it over to the async side.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..bytes.len().min(PIECE_BYTES)).unwrap_or(bytes);
        self.0.blocking_send(Ok(Bytes::copy_from_slice(piece))).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the tree of a NAR to `destination`, which must not exist.
pub(crate) async fn restore(nar: impl AsyncRead + Send + Unpin + 'static, destination: &Path) -> io::Result<()> {
    let destination = destination.to_owned();
    let mut reader = SyncIoBridge::new(nar);
    let restored =
        spawn_blocking(move || restore_reader(&mut reader, &destination, CaseHack::Disabled).map_err(io::Error::other));
    match timeout(RESTORE_TIME, restored).await {
        Ok(joined) => joined.map_err(io::Error::other)?,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
    }
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::bufread::ZstdDecoder;
    use futures_util::TryStreamExt as _;
    use reqwest::Body;
    use tokio::io::AsyncReadExt as _;
    use tokio_util::io::StreamReader;

    use super::*;

    async fn received(stream: Compressed) -> io::Result<Vec<u8>> {
        let stream = http_response(Body::wrap_stream(stream)).bytes_stream().map_err(io::Error::other);
        let mut nar = Vec::new();
        ZstdDecoder::new(StreamReader::new(Box::pin(stream))).read_to_end(&mut nar).await?;
        Ok(nar)
    }

    fn http_response(body: Body) -> reqwest::Response {
        reqwest::Response::from(tokio_tungstenite::tungstenite::http::Response::new(body))
    }

    #[tokio::test]
    async fn a_tree_survives_the_way_there_and_back() {
        let directory = tempfile::tempdir().unwrap();
        let (there, back) = (directory.path().join("there"), directory.path().join("back"));
        std::fs::create_dir(&there).unwrap();
        std::fs::write(there.join("large"), vec![7; 1 << 20]).unwrap();
        std::os::unix::fs::symlink("large", there.join("link")).unwrap();

        let nar = received(NarFile::new(there).stream()).await.unwrap();
        restore(io::Cursor::new(nar), &back).await.unwrap();
        assert_eq!(std::fs::read(back.join("large")).unwrap(), vec![7; 1 << 20]);
        assert_eq!(std::fs::read_link(back.join("link")).unwrap(), Path::new("large"));
    }

    #[tokio::test]
    async fn the_bytes_are_the_same_each_time_however_they_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let contents: Vec<u8> = (0..3_000_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        std::fs::write(directory.path().join("file"), &contents).unwrap();
        let file = NarFile::new(directory.path().to_owned());
        let bytes = async |pause: std::time::Duration| {
            let (mut stream, mut all) = (file.stream(), Vec::new());
            while let Some(piece) = stream.try_next().await.unwrap() {
                all.extend_from_slice(&piece);
                tokio::time::sleep(pause).await;
            }
            all
        };
        assert!(bytes(std::time::Duration::ZERO).await == bytes(std::time::Duration::from_millis(1)).await);
    }

    #[tokio::test]
    async fn what_cannot_be_read_never_looks_whole() {
        let file = NarFile::new("/nowhere/at/all".into());
        assert!(received(file.stream()).await.is_err());
        assert!(file.take_error().is_some());
    }

    #[tokio::test]
    async fn a_truncated_nar_is_not_restored() {
        let directory = tempfile::tempdir().unwrap();
        let nar = b"\x0d\0\0\0\0\0\0\0nix-archive-1\0\0\0".to_vec();
        assert!(restore(io::Cursor::new(nar), &directory.path().join("x")).await.is_err());
    }
}
