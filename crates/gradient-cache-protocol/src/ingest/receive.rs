use std::io::{self, BufRead, BufReader, Read, Write};

use gradient_nix::NarHash;
use sha2::{Digest as _, Sha256};

use super::{
    Candidates, Expectation, IngestError, Mentions, NarFileName, Subject, VerifiedNar, VerifiedUpload,
    compressed::{Broken, Decoder, Source},
    decompressor::{Decompressor, Format},
    pass,
};

/// How well what came in another form is compressed: as Nix does by default.
const LEVEL: i32 = zstd::DEFAULT_COMPRESSION_LEVEL;

/// Enough to tell one format from another.
const BEGINNING: usize = 1 << 10;

/// A NAR that a client uploaded before it said which path it is the content of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedNar {
    /// The NAR, and the file that is kept of it.
    pub upload: VerifiedUpload,
    /// The hash of what was sent: that of the file that is kept when it was zstd already.
    pub sent_hash: NarHash,
    /// Its size in bytes.
    pub sent_size: u64,
    /// What it may refer to.
    pub mentions: Mentions,
}

/// Verifies a NAR that a client uploads as a file of a cache, in whatever way it is compressed that Nix offers: none, zstd, xz,
/// bzip2, gzip, br, lz4, lzma or lzip. What is zstd goes to `kept` as it came, anything else is compressed anew.
///
/// The upload is read once, in memory that does not grow with it. It has to be what its name says: the hash of the file, or of
/// the NAR. What was written to `kept` is worth nothing when this fails.
pub fn receive(upload: impl Read, name: &NarFileName, kept: impl Write, max_nar_size: u64) -> Result<ReceivedNar, IngestError> {
    let subject = Subject::File(Box::new(name.clone()));
    let expectation = Expectation::of(subject, Candidates::new([]), max_nar_size);
    let mut mentions = Mentions::default();
    let (upload, (sent_hash, sent_size)) = keep(upload, name.extension(), kept, &expectation, Some(&mut mentions))?;
    if name.hash() != sent_hash && name.hash() != upload.nar.nar_hash {
        return Err(IngestError::FileName { name: name.clone(), found: sent_hash });
    }
    Ok(ReceivedNar { upload, sent_hash, sent_size, mentions: mentions.finish() })
}

/// As [`receive`], for a NAR of which everything is known that is to be found: one that another cache sends, compressed as its
/// narinfo says. Hash and size of the compressed form are expected of what is sent; those of what is kept are in the answer.
pub fn receive_expected(
    sent: impl Read,
    compression: &str,
    kept: impl Write,
    expectation: &Expectation,
) -> Result<VerifiedUpload, IngestError> {
    let (kept, (sent_hash, sent_size)) = keep(sent, compression, kept, expectation, None)?;
    expectation.check_file(sent_hash, sent_size)?;
    Ok(kept)
}

/// As [`verify`](super::verify), and writes what comes to `kept`, as it comes.
pub fn verify_and_keep(sent: impl Read, kept: impl Write, expectation: &Expectation) -> Result<VerifiedUpload, IngestError> {
    let kept = keep_zstd(sent, kept, expectation, None)?;
    expectation.check_file(kept.file_hash, kept.file_size)?;
    Ok(kept)
}

/// What was kept, with the hash and the size of what was sent. `extension` tells of a compression that has no beginning of its own.
fn keep(
    sent: impl Read,
    extension: &str,
    kept: impl Write,
    expectation: &Expectation,
    mentions: Option<&mut Mentions>,
) -> Result<(VerifiedUpload, (NarHash, u64)), IngestError> {
    let mut sent = BufReader::with_capacity(BEGINNING, sent);
    let beginning = sent.fill_buf().map_err(IngestError::Read)?;
    let format = Format::of(beginning, extension).ok_or_else(|| {
        let source =
            "it is neither a NAR nor zstd, xz, bzip2, gzip, br, lz4, lzma or lzip; set `compression=zstd` on the store's URL";
        let source = io::Error::new(io::ErrorKind::InvalidData, source);
        IngestError::Compression { subject: expectation.subject.clone(), source }
    })?;
    if format == Format::Zstd {
        let kept = keep_zstd(sent, kept, expectation, mentions)?;
        let sent = (kept.file_hash, kept.file_size);
        Ok((kept, sent))
    } else {
        let decompressor = Decompressor::new(sent, format).map_err(IngestError::Read)?;
        let mut source = Recompressing::new(decompressor, kept).map_err(IngestError::Keep)?;
        let nar = pass::read(&mut source, expectation, mentions)?;
        let (sent, kept) = source.finish(nar)?;
        Ok((kept, sent))
    }
}

fn keep_zstd(
    sent: impl Read,
    kept: impl Write,
    expectation: &Expectation,
    mentions: Option<&mut Mentions>,
) -> Result<VerifiedUpload, IngestError> {
    let mut copying = Copying { from: sent, to: kept, failed: None };
    let mut decoder = Decoder::new(&mut copying)?;
    let nar = pass::read(&mut decoder, expectation, mentions);
    let (file_hash, file_size) = decoder.finish();
    match copying.failed {
        // A full disk says nothing of the upload.
        Some(error) => Err(IngestError::Keep(error)),
        None => Ok(VerifiedUpload { nar: nar?, file_hash, file_size }),
    }
}

/// Keeps what is read through it.
struct Copying<R, W> {
    from: R,
    to: W,
    /// Why it could not be kept.
    failed: Option<io::Error>,
}

impl<R: Read, W: Write> Read for Copying<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if let Err(error) = self.to.write_all(&buffer[..count]) {
            let kind = error.kind();
            self.failed = Some(error);
            return Err(kind.into());
        }
        Ok(count)
    }
}

/// Compresses anew what is decompressed.
struct Recompressing<R: Read, W: Write> {
    from: Decompressor<R>,
    to: zstd::Encoder<'static, HashingWriter<W>>,
}

impl<R: Read, W: Write> Recompressing<R, W> {
    fn new(from: Decompressor<R>, to: W) -> io::Result<Self> {
        let to = HashingWriter { to, hasher: Sha256::new(), size: 0 };
        Ok(Self { from, to: zstd::Encoder::new(to, LEVEL)? })
    }

    /// What was sent, and what is kept.
    fn finish(self, nar: VerifiedNar) -> Result<((NarHash, u64), VerifiedUpload), IngestError> {
        let sent = self.from.finish().map_err(IngestError::Read)?;
        let mut kept = self.to.finish().map_err(IngestError::Keep)?;
        kept.to.flush().map_err(IngestError::Keep)?;
        let (file_hash, file_size) = (NarHash(kept.hasher.finalize().into()), kept.size);
        Ok((sent, VerifiedUpload { nar, file_hash, file_size }))
    }
}

impl<R: Read, W: Write> Source for Recompressing<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        let count = self.from.read(buffer)?;
        self.to.write_all(&buffer[..count]).map_err(Broken::Keep)?;
        Ok(count)
    }
}

struct HashingWriter<W> {
    to: W,
    hasher: Sha256,
    size: u64,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests;
