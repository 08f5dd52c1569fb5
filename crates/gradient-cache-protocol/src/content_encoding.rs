//! What a client compressed for the way: Nix from 2.32 on can do that with narinfos, listings and logs.

use std::io::{BufReader, Read};

use crate::ingest::MAX_WINDOW_LOG;

/// How much is read ahead.
const READ_AHEAD: usize = 16 << 10;

/// The memory that xz, lzma and lzip may ask for in bytes: their strongest levels take 65 MiB.
pub(crate) const MAX_XZ_MEMORY: u64 = 80 << 20;

/// The body as it was before it got this `Content-Encoding`, as it is read; `None` for one that is not known.
pub fn decode<'a>(body: impl Read + Send + 'a, encoding: &str) -> Option<Box<dyn Read + Send + 'a>> {
    let body = BufReader::with_capacity(READ_AHEAD, body);
    Some(match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Box::new(body),
        "br" => Box::new(brotli_decompressor::Decompressor::new(body, READ_AHEAD)),
        "bzip2" => Box::new(bzip2::bufread::MultiBzDecoder::new(body)),
        "gzip" | "x-gzip" => Box::new(flate2::bufread::MultiGzDecoder::new(body)),
        "xz" => {
            let stream = liblzma::stream::Stream::new_auto_decoder(MAX_XZ_MEMORY, liblzma::stream::CONCATENATED).ok()?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(body, stream))
        }
        "zstd" => {
            let mut decoder = zstd::Decoder::with_buffer(body).ok()?;
            decoder.window_log_max(MAX_WINDOW_LOG).ok()?;
            Box::new(decoder)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nix_sends_is_read() {
        let mut gzip = Vec::new();
        flate2::read::GzEncoder::new(&b"hello"[..], flate2::Compression::fast()).read_to_end(&mut gzip).unwrap();
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(&b"hello"[..], 6).read_to_end(&mut xz).unwrap();
        let zstd = zstd::encode_all(&b"hello"[..], 3).unwrap();
        for (encoding, sent) in [("identity", b"hello".to_vec()), ("GZIP", gzip), ("xz", xz), ("zstd", zstd)] {
            let mut text = String::new();
            decode(sent.as_slice(), encoding).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello", "{encoding}");
        }
        assert!(decode(&b""[..], "compress").is_none());
    }
}
