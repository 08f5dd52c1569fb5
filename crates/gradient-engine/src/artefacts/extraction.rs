//! Decompressing a stored NAR or listing on a thread of its own, no faster than the reader reads.

use std::{
    io::{self, Read, Write},
    ops::Range,
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use gradient_blobs::{Blob, BlobError};
use tokio::{runtime::Handle, sync::mpsc};

use super::archive::Entries;
use crate::EngineError;

/// How much is decompressed at a time, in bytes.
const CHUNK: usize = 64 << 10;

/// Chunks that may wait for the reader; beyond that the extraction waits.
const WAITING_CHUNKS: usize = 4;

/// How long the reader may pause before the extraction gives up.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// What is read out of a compressed blob.
pub(super) enum Work {
    /// All that is in it.
    All,
    /// The bytes in a range of the decompressed NAR.
    File(Range<u64>),
    /// A directory.
    Archive(Entries),
}

/// One blob being read.
pub(super) struct Extraction {
    stored: Stored,
    sink: Sink,
}

impl Extraction {
    /// Starts to read. The thread, and with it the share, lasts until all is read or the stream is dropped.
    pub(super) fn start(stored: Blob, work: Work, share: impl Send + 'static) -> Result<Decompressed, EngineError> {
        let (chunks, receiver) = mpsc::channel(WAITING_CHUNKS);
        let runtime = Handle::current();
        let sink = Sink { chunks: chunks.clone(), runtime };
        let extraction = Self { stored: Stored::new(stored), sink };
        // Not a blocking task: it waits for blocking tasks that read the file, and there may be few threads for those.
        let run = move || {
            let _share = share;
            let sink = Sink { chunks, runtime: extraction.sink.runtime.clone() };
            // A reader that has gone, or does not read, cannot be told; its stream breaks off.
            let _ = sink.send(extraction.run(work).map(|()| Bytes::new()).map_err(EngineError::Compression));
        };
        thread::Builder::new().name("extraction".to_owned()).spawn(run).map_err(EngineError::Compression)?;
        Ok(stream::unfold(Some(receiver), next).boxed())
    }

    fn run(self, work: Work) -> io::Result<()> {
        let mut nar = Contents { decoder: zstd::Decoder::new(self.stored)?, position: 0 };
        let mut sink = self.sink;
        match work {
            Work::All => copy(&mut nar.decoder, &mut sink),
            Work::File(range) => {
                nar.skip_to(range.start)?;
                copy(&mut nar.exactly(range.end.saturating_sub(range.start)), &mut sink)
            }
            Work::Archive(entries) => entries.write(&mut nar, io::BufWriter::with_capacity(CHUNK, sink)),
        }
    }
}

/// Decompressed bytes. The stream may break off with an error; what is complete ends without one.
pub(crate) type Decompressed = BoxStream<'static, Result<Bytes, EngineError>>;

type Chunks = mpsc::Receiver<Result<Bytes, EngineError>>;

/// The next chunk. The end is an empty one, so that what breaks off is not taken for complete.
async fn next(chunks: Option<Chunks>) -> Option<(Result<Bytes, EngineError>, Option<Chunks>)> {
    let mut chunks = chunks?;
    match chunks.recv().await {
        Some(Ok(chunk)) if chunk.is_empty() => None,
        Some(Ok(chunk)) => Some((Ok(chunk), Some(chunks))),
        Some(Err(error)) => Some((Err(error), None)),
        None => Some((Err(EngineError::Compression(io::ErrorKind::TimedOut.into())), None)),
    }
}

/// A decompressed NAR, from which only what comes later can be read.
pub(super) struct Contents<R> {
    decoder: R,
    position: u64,
}

impl<R: Read> Contents<R> {
    /// Goes to a place in the NAR.
    pub(super) fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        let distance = offset.checked_sub(self.position);
        let distance = distance.ok_or_else(|| io::Error::other("files of a listing overlap"))?;
        copy(&mut self.exactly(distance), &mut io::sink())
    }

    /// The next `size` bytes; that the NAR ends before is an error.
    pub(super) fn exactly(&mut self, size: u64) -> Exactly<'_, R> {
        Exactly { contents: self, left: size }
    }
}

/// A part of known size.
pub(super) struct Exactly<'a, R> {
    contents: &'a mut Contents<R>,
    left: u64,
}

impl<R: Read> Read for Exactly<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let (part, _) = buffer.split_at_mut(wanted);
        if part.is_empty() {
            return Ok(0);
        }
        let count = self.contents.decoder.read(part)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let read = u64::try_from(count).map_err(io::Error::other)?;
        self.left = self.left.saturating_sub(read);
        self.contents.position = self.contents.position.saturating_add(read);
        Ok(count)
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = from.read(&mut buffer)?;
        let (part, _) = buffer.split_at(count);
        if part.is_empty() {
            return Ok(());
        }
        to.write_all(part)?;
    }
}

/// The compressed blob, to be read where it may block.
pub(crate) struct Stored {
    stream: BoxStream<'static, Result<Bytes, BlobError>>,
    current: Bytes,
    runtime: Handle,
}

impl Stored {
    /// To be called on a thread of the runtime.
    pub(crate) fn new(blob: Blob) -> Self {
        Self { stream: blob.stream, current: Bytes::new(), runtime: Handle::current() }
    }
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(chunk) => self.current = chunk.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        let (taken, _) = buffer.split_at_mut(count);
        taken.copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// The way to the reader.
struct Sink {
    chunks: mpsc::Sender<Result<Bytes, EngineError>>,
    runtime: Handle,
}

impl Sink {
    fn send(&self, chunk: Result<Bytes, EngineError>) -> io::Result<()> {
        let send = self.chunks.send(chunk);
        match self.runtime.block_on(async { tokio::time::timeout(MAX_PAUSE, send).await }) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = bytes.get(..CHUNK).unwrap_or(bytes);
        if !part.is_empty() {
            self.send(Ok(Bytes::copy_from_slice(part)))?;
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
