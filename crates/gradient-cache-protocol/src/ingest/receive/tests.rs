use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use gradient_nix::{HashAlgorithm, NixHasher, StorePathHash};
use proptest::prelude::*;

use super::*;
use crate::ingest::verify;

/// What Nix 2.8.0 wrote; see the vectors of `gradient-nix`.
const TREE: &[u8] = include_bytes!("../../../../gradient-nix/tests/vectors/nar/tree.nar");
const MIB: u64 = 1 << 20;

fn sha256(bytes: &[u8]) -> NarHash {
    let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
    hasher.update(bytes);
    NarHash(hasher.finalize().digest_as_bytes().try_into().unwrap())
}

fn name(hash: NarHash, extension: &str) -> NarFileName {
    format!("{}.nar{extension}", hash.to_nix32()).parse().unwrap()
}

/// Under the name that Nix gives it.
fn received(sent: &[u8], extension: &str) -> Result<(ReceivedNar, Vec<u8>), IngestError> {
    let mut kept = Vec::new();
    receive(sent, &name(sha256(sent), extension), &mut kept, MIB).map(|received| (received, kept))
}

fn encoded(bytes: &[u8], format: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    match format {
        "" => encoded.extend_from_slice(bytes),
        ".zst" => encoded = zstd::encode_all(bytes, 19).unwrap(),
        ".gz" => {
            flate2::read::GzEncoder::new(bytes, flate2::Compression::best()).read_to_end(&mut encoded).unwrap();
        }
        ".bz2" => {
            bzip2::read::BzEncoder::new(bytes, bzip2::Compression::best()).read_to_end(&mut encoded).unwrap();
        }
        ".xz" => {
            liblzma::read::XzEncoder::new(bytes, 9).read_to_end(&mut encoded).unwrap();
        }
        ".lzma" => {
            let options = liblzma::stream::LzmaOptions::new_preset(6).unwrap();
            let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
            liblzma::read::XzEncoder::new_stream(bytes, stream).read_to_end(&mut encoded).unwrap();
        }
        ".lz4" => {
            let mut frames = lz4_flex::frame::FrameEncoder::new(&mut encoded);
            frames.write_all(bytes).unwrap();
            frames.finish().unwrap();
        }
        other => panic!("{other}"),
    }
    encoded
}

#[test]
fn whatever_it_is_compressed_with_it_is_kept_as_zstd() {
    for format in ["", ".zst", ".gz", ".bz2", ".xz", ".lzma", ".lz4"] {
        let sent = encoded(TREE, format);
        let (received, kept) = received(&sent, format).unwrap();
        assert_eq!((received.sent_hash, received.sent_size), (sha256(&sent), sent.len() as u64), "{format}");
        assert_eq!((received.upload.file_hash, received.upload.file_size), (sha256(&kept), kept.len() as u64), "{format}");
        assert_eq!(zstd::decode_all(kept.as_slice()).unwrap(), TREE, "{format}");
        assert_eq!(kept == sent, format == ".zst", "only what is zstd stays as it came");
        // The same as what is read again with everything known.
        let verified = verify(kept.as_slice(), &Expectation::new(path("tree"), Candidates::new([]), MIB)).unwrap();
        assert_eq!(verified, received.upload, "{format}");
    }
}

#[test]
fn brotli_and_lzip_are_read_too() {
    // Written by the `brotli` and `lzip` commands of Debian 12.
    let brotli = &include_bytes!("../../../tests/vectors/tree.nar.br")[..];
    let lzip = &include_bytes!("../../../tests/vectors/tree.nar.lzip")[..];
    for (sent, extension) in [(brotli, ".br"), (lzip, ".lzip")] {
        let (received, kept) = received(sent, extension).unwrap();
        assert_eq!(received.upload.nar.nar_hash, sha256(TREE), "{extension}");
        assert_eq!(zstd::decode_all(kept.as_slice()).unwrap(), TREE, "{extension}");
    }
}

fn path(name: &str) -> gradient_nix::StorePath {
    format!("2vmnnlg2n5iiwmvhg8957fprn2bw0159-{name}").parse().unwrap()
}

#[test]
fn what_it_may_refer_to_is_noted() {
    let (received, _) = received(TREE, "").unwrap();
    for hash in ["2vmnnlg2n5iiwmvhg8957fprn2bw0159", "nvwa44pgdakc6hh2wq9mfyj4124gr5g6"] {
        assert!(received.mentions.contains(&hash.parse().unwrap()), "{hash}");
    }
    let other: StorePathHash = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz".parse().unwrap();
    assert!(!received.mentions.contains(&other));
}

#[test]
fn a_name_is_the_hash_of_the_file_or_of_the_nar() {
    let sent = encoded(TREE, ".xz");
    let mut kept = Vec::new();
    receive(sent.as_slice(), &name(sha256(TREE), ".xz"), &mut kept, MIB).unwrap();
    let refused = receive(sent.as_slice(), &name(NarHash([7; 32]), ".xz"), &mut kept, MIB).unwrap_err();
    assert!(matches!(refused, IngestError::FileName { found, .. } if found == sha256(&sent)), "{refused}");
}

#[test]
fn what_is_no_nar_is_told_apart() {
    let refused = |sent: &[u8], extension| received(sent, extension).unwrap_err();
    for unknown in [&b""[..], b"hello", &[0; 1000]] {
        assert!(matches!(refused(unknown, ".xz"), IngestError::Compression { .. }));
    }
    for format in ["", ".zst", ".gz", ".bz2", ".xz", ".lz4"] {
        let refused = refused(&encoded(&TREE[..TREE.len() - 8], format), format);
        assert!(matches!(refused, IngestError::Nar { .. }), "{format}: {refused}");
        let padded = [TREE, &[0; 8]].concat();
        assert!(received(&encoded(&padded, format), format).is_err(), "{format}");
    }
    assert!(matches!(refused(&encoded(b"not a NAR", ".gz"), ".gz"), IngestError::Nar { .. }));
}

#[test]
fn a_bomb_stops_at_the_limit() {
    for format in [".zst", ".gz", ".bz2", ".xz", ".lz4"] {
        let mut nar = TREE.to_vec();
        nar.resize(4 << 20, 0);
        let sent = encoded(&nar, format);
        let mut kept = Vec::new();
        let refused = receive(sent.as_slice(), &name(sha256(&sent), format), &mut kept, 2048).unwrap_err();
        assert!(matches!(refused, IngestError::TooLarge { .. }), "{format}: {refused}");
        assert!(kept.len() < 2 << 20, "{format}");
    }
}

/// Whether Debian's tool of this name is there.
fn tool(name: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let command = Command::new(name).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = command.ok()?;
    let mut stdin = child.stdin.take()?;
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().ok()?;
    writer.join().unwrap().ok()?;
    output.status.success().then_some(output.stdout)
}

#[test]
fn what_other_programs_write_is_read() {
    for (program, arguments, extension) in [
        ("xz", &["-c", "-T2"][..], ".xz"),
        ("gzip", &["-c"], ".gz"),
        ("bzip2", &["-c"], ".bz2"),
        ("zstd", &["-c", "--long=25"], ".zst"),
    ] {
        if let Some(sent) = tool(program, arguments, TREE) {
            let (received, _) = received(&sent, extension).unwrap();
            assert_eq!(received.upload.nar.nar_hash, sha256(TREE), "{program}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever becomes of an upload on its way, it is refused under the name it had before.
    #[test]
    fn what_was_damaged_is_refused(
        format in proptest::sample::select(vec!["", ".zst", ".gz", ".bz2", ".xz", ".lz4"]),
        at in any::<proptest::sample::Index>(),
        damage in 0..4,
        bit in 0..8,
    ) {
        let sent = encoded(TREE, format);
        let named = name(sha256(&sent), format);
        let at = at.index(sent.len());
        let mut damaged = sent.clone();
        match damage {
            0 => damaged[at] ^= 1u8 << bit,
            1 => damaged.truncate(at),
            2 => damaged.extend_from_slice(&sent[at..]),
            _ => { damaged.remove(at); }
        }
        prop_assume!(damaged != sent);
        prop_assert!(receive(damaged.as_slice(), &named, std::io::sink(), MIB).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, extension in proptest::sample::select(vec!["", ".br", ".xz"])) {
        let _ = receive(bytes.as_slice(), &name(NarHash([7; 32]), extension), std::io::sink(), MIB);
    }
}

#[test]
fn what_cannot_be_kept_is_not_the_uploads_fault() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for format in [".zst", ".xz"] {
        let sent = encoded(TREE, format);
        let refused = receive(sent.as_slice(), &name(sha256(TREE), format), Full, MIB).unwrap_err();
        assert!(matches!(&refused, IngestError::Keep(error) if error.kind() == io::ErrorKind::StorageFull), "{refused}");
    }
    let expectation = Expectation::new(path("tree"), Candidates::new([]), MIB);
    let refused = verify_and_keep(encoded(TREE, ".zst").as_slice(), Full, &expectation).unwrap_err();
    assert!(matches!(refused, IngestError::Keep(_)), "{refused}");
}
