//! The primitive values of the worker protocol: little-endian 64-bit numbers, and byte strings that are padded with zeros to a
//! multiple of eight. Whatever is read has a bound, because a length is only what the other side says it is.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::Error;

/// The longest string that is taken: error messages and lines of logs are the longest there are.
pub(crate) const MAX_STRING_BYTES: u64 = 16 << 20;

/// The most items that a list may have.
pub(crate) const MAX_ITEMS: u64 = 1 << 20;

/// The most bytes that the strings of a list may have together: as many paths as a list may have, with names of usual length.
pub(crate) const MAX_LIST_BYTES: u64 = 128 << 20;

/// How much is written at once; more is flushed in between.
const WRITE_BYTES: usize = 64 << 10;

/// What the daemon says.
pub(crate) struct Reader(BufReader<Box<dyn AsyncRead + Send + Unpin>>);

impl Reader {
    pub(crate) fn new(source: Box<dyn AsyncRead + Send + Unpin>) -> Self {
        Self(BufReader::with_capacity(WRITE_BYTES, source))
    }

    pub(crate) async fn number(&mut self) -> Result<u64, Error> {
        Ok(self.0.read_u64_le().await?)
    }

    /// Whether nothing more comes.
    pub(crate) async fn is_over(&mut self) -> Result<bool, Error> {
        Ok(self.0.fill_buf().await?.is_empty())
    }

    pub(crate) async fn flag(&mut self) -> Result<bool, Error> {
        Ok(self.number().await? != 0)
    }

    pub(crate) async fn bytes(&mut self) -> Result<Vec<u8>, Error> {
        let length = self.number().await?;
        if length > MAX_STRING_BYTES {
            return Err(Error::TooLarge { what: "a string", size: length, limit: MAX_STRING_BYTES });
        }
        // Grows with what arrives, not with what was announced.
        let mut bytes = Vec::new();
        let read = (&mut self.0).take(length).read_to_end(&mut bytes).await?;
        let padding = padding(bytes.len());
        let mut zeros = [0; 8];
        let Some(zeros) = zeros.get_mut(..padding) else { return Err(Error::Malformed("padding")) };
        self.0.read_exact(zeros).await?;
        if u64::try_from(read) != Ok(length) || zeros.iter().any(|byte| *byte != 0) {
            return Err(Error::Malformed("a string"));
        }
        Ok(bytes)
    }

    /// A string of a list.
    pub(crate) async fn bytes_of_list(&mut self, room: &mut ListRoom) -> Result<Vec<u8>, Error> {
        let bytes = self.bytes().await?;
        room.taken = room.taken.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if room.taken > MAX_LIST_BYTES {
            return Err(Error::TooLarge { what: "a list", size: room.taken, limit: MAX_LIST_BYTES });
        }
        Ok(bytes)
    }

    /// A string for people and for parsers: what is not UTF-8 is replaced.
    pub(crate) async fn text(&mut self) -> Result<String, Error> {
        let bytes = self.bytes().await?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    pub(crate) async fn count(&mut self) -> Result<u64, Error> {
        let count = self.number().await?;
        if count > MAX_ITEMS {
            return Err(Error::TooLarge { what: "a list", size: count, limit: MAX_ITEMS });
        }
        Ok(count)
    }

    pub(crate) async fn texts(&mut self) -> Result<Vec<String>, Error> {
        let mut texts = Vec::new();
        let mut room = ListRoom::default();
        for _ in 0..self.count().await? {
            let text = self.bytes_of_list(&mut room).await?;
            texts.push(String::from_utf8_lossy(&text).into_owned());
        }
        Ok(texts)
    }

    /// Copies raw bytes, which have no length in front.
    pub(crate) async fn copy(&mut self, bytes: u64, to: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<(), Error> {
        let mut left = bytes;
        let mut buffer = vec![0; WRITE_BYTES];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(WRITE_BYTES).min(WRITE_BYTES);
            let window = buffer.get_mut(..most).ok_or(Error::Malformed("a NAR"))?;
            let read = self.0.read(window).await?;
            if read == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            to.write_all(window.get(..read).unwrap_or_default()).await.map_err(Error::Sink)?;
            left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        }
        to.flush().await.map_err(Error::Sink)
    }
}

/// How much the strings of a list have taken: that each of them is within bounds says nothing of all of them.
#[derive(Default)]
pub(crate) struct ListRoom {
    taken: u64,
}

/// What the daemon is told. Values collect in memory until they are flushed.
pub(crate) struct Writer {
    sink: Box<dyn AsyncWrite + Send + Unpin>,
    pending: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(sink: Box<dyn AsyncWrite + Send + Unpin>) -> Self {
        Self { sink, pending: Vec::new() }
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.pending.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub(crate) fn flag(&mut self, flag: bool) -> &mut Self {
        self.number(u64::from(flag))
    }

    pub(crate) fn count(&mut self, count: usize) -> &mut Self {
        self.number(u64::try_from(count).unwrap_or(u64::MAX))
    }

    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        let text = text.as_ref();
        self.count(text.len());
        self.pending.extend_from_slice(text);
        self.pending.resize(self.pending.len() + padding(text.len()), 0);
        self
    }

    pub(crate) fn texts<T: AsRef<[u8]>>(&mut self, texts: impl ExactSizeIterator<Item = T>) -> &mut Self {
        self.count(texts.len());
        for text in texts {
            self.text(text);
        }
        self
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        self.sink.write_all(&self.pending).await?;
        self.pending.clear();
        Ok(self.sink.flush().await?)
    }

    /// Passes frames on as they come, the empty one at the end included.
    pub(crate) async fn pass_frames(&mut self, source: &mut Reader) -> Result<(), Error> {
        loop {
            let bytes = source.number().await?;
            self.number(bytes).flush().await?;
            if bytes == 0 {
                return Ok(());
            }
            source.copy(bytes, &mut *self.sink).await?;
        }
    }

    /// Sends exactly `bytes` bytes of `source` as frames, which have no padding, and ends with an empty one.
    pub(crate) async fn frames(&mut self, bytes: u64, source: &mut (dyn AsyncRead + Send + Unpin)) -> Result<(), Error> {
        let mut left = bytes;
        let mut buffer = vec![0; WRITE_BYTES];
        loop {
            let read = source.read(&mut buffer).await.map_err(Error::Source)?;
            if read == 0 && left == 0 {
                self.number(0);
                return self.flush().await;
            }
            let read_bytes = u64::try_from(read).unwrap_or(u64::MAX);
            if read == 0 || read_bytes > left {
                return Err(Error::NarSize { declared: bytes });
            }
            left -= read_bytes;
            self.number(read_bytes);
            self.pending.extend_from_slice(buffer.get(..read).unwrap_or_default());
            self.sink.write_all(&self.pending).await?;
            self.pending.clear();
        }
    }
}

const fn padding(length: usize) -> usize {
    length.wrapping_neg() % 8
}

#[cfg(test)]
mod tests;
