//! The ways in which a client may have compressed what it uploads. What it is shows in its first bytes, whatever it is called.

use std::io::{self, BufReader, Read};

use gradient_nix::NarHash;

use super::compressed::{Broken, Hashing, Source};
use crate::content_encoding::MAX_XZ_MEMORY;

/// How much is read ahead: more than what tells one format from another.
const READ_AHEAD: usize = 64 << 10;

type Input<R> = BufReader<Hashing<R>>;

/// Decompresses what a client sends.
pub(super) enum Decompressor<R: Read> {
    Plain(Input<R>),
    Brotli(Box<brotli_decompressor::Decompressor<Input<R>>>),
    Bzip2(bzip2::bufread::MultiBzDecoder<Input<R>>),
    Gzip(flate2::bufread::MultiGzDecoder<Input<R>>),
    Lz4(Box<lz4_flex::frame::FrameDecoder<Input<R>>>),
    Xz(liblzma::bufread::XzDecoder<Input<R>>),
}

/// How an upload is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Zstd,
    Brotli,
    Bzip2,
    Gzip,
    Lz4,
    Lzip,
    /// And lzma.
    Xz,
}

/// What uploads begin with.
const BEGINNINGS: [(&[u8], Format); 8] = [
    // The first string of every NAR, with its length.
    (b"\x0d\0\0\0\0\0\0\0nix-archive-1", Format::Plain),
    (b"\x28\xb5\x2f\xfd", Format::Zstd),
    (b"BZh", Format::Bzip2),
    (b"\x1f\x8b", Format::Gzip),
    (b"\x04\x22\x4d\x18", Format::Lz4),
    (b"\xfd7zXZ\0", Format::Xz),
    (b"LZIP", Format::Lzip),
    // lzma, with the properties that everybody uses.
    (b"\x5d\0\0", Format::Xz),
];

impl Format {
    /// What the beginning of an upload says. Brotli has none that could be known, so its extension has to say it.
    pub(super) fn of(beginning: &[u8], extension: &str) -> Option<Self> {
        if extension == "br" {
            return Some(Self::Brotli);
        }
        BEGINNINGS.into_iter().find(|(begins, _)| beginning.starts_with(begins)).map(|(_, format)| format)
    }
}

impl<R: Read> Decompressor<R> {
    /// For an upload in this format, which is not zstd.
    pub(super) fn new(upload: R, format: Format) -> io::Result<Self> {
        let input = BufReader::with_capacity(READ_AHEAD, Hashing::new(upload));
        Ok(match format {
            // Zstd has a decoder of its own; here it would be refused as no NAR.
            Format::Plain | Format::Zstd => Self::Plain(input),
            Format::Brotli => Self::Brotli(Box::new(brotli_decompressor::Decompressor::new(input, READ_AHEAD))),
            Format::Bzip2 => Self::Bzip2(bzip2::bufread::MultiBzDecoder::new(input)),
            Format::Gzip => Self::Gzip(flate2::bufread::MultiGzDecoder::new(input)),
            Format::Lz4 => Self::Lz4(Box::new(lz4_flex::frame::FrameDecoder::new(input))),
            Format::Lzip => {
                let lzip = liblzma::stream::Stream::new_lzip_decoder(MAX_XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Self::Xz(liblzma::bufread::XzDecoder::new_stream(input, lzip))
            }
            Format::Xz => {
                let any = liblzma::stream::Stream::new_auto_decoder(MAX_XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Self::Xz(liblzma::bufread::XzDecoder::new_stream(input, any))
            }
        })
    }

    /// The hash and the size of what was sent, to its end.
    pub(super) fn finish(mut self) -> io::Result<(NarHash, u64)> {
        // What is behind the end of the compressed NAR is not kept, but it is part of the file.
        io::copy(self.input_mut(), &mut io::sink())?;
        Ok(match self {
            Self::Plain(input) => input,
            Self::Brotli(decoder) => decoder.into_inner(),
            Self::Bzip2(decoder) => decoder.into_inner(),
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Lz4(decoder) => decoder.into_inner(),
            Self::Xz(decoder) => decoder.into_inner(),
        }
        .into_inner()
        .finish())
    }

    fn input_mut(&mut self) -> &mut Input<R> {
        match self {
            Self::Plain(input) => input,
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Bzip2(decoder) => decoder.get_mut(),
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Lz4(decoder) => decoder.get_mut(),
            Self::Xz(decoder) => decoder.get_mut(),
        }
    }
}

impl<R: Read> Source for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        let read = match self {
            Self::Plain(input) => input.read(buffer),
            Self::Brotli(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Lz4(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
        };
        read.map_err(|error| {
            let is_broken = self.input_mut().get_ref().is_broken();
            if is_broken || error.kind() == io::ErrorKind::Interrupted {
                Broken::Upload(error)
            } else {
                Broken::Compression(error)
            }
        })
    }
}
