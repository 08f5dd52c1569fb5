//! A compressed NAR from a worker or a client, as it streams in.
#![no_main]

use std::{io::Read, sync::LazyLock};

use gradient_cache_protocol::ingest::{Candidates, Expectation, verify};
use gradient_nix::StorePath;
use libfuzzer_sys::fuzz_target;

/// Bounds what a bomb may unpack, so that a run stays fast.
const MAX_NAR: u64 = 1 << 20;

static EXPECTATION: LazyLock<Expectation> = LazyLock::new(|| {
    let path = |text: &str| text.parse::<StorePath>().expect("a path");
    let candidates = [path("nvwa44pgdakc6hh2wq9mfyj4124gr5g6-base"), path("2vmnnlg2n5iiwmvhg8957fprn2bw0159-tree")];
    Expectation::new(candidates[1].clone(), Candidates::new(candidates), MAX_NAR)
});

fuzz_target!(|compressed: &[u8]| {
    let Ok(upload) = verify(compressed, &EXPECTATION) else { return };
    assert_eq!(upload.file_size, compressed.len() as u64);
    assert!(upload.nar.nar_size <= MAX_NAR);
    // Coming in pieces makes no difference.
    assert_eq!(verify(OneByOne(compressed), &EXPECTATION).expect("the same bytes"), upload);
});

struct OneByOne<'a>(&'a [u8]);

impl Read for OneByOne<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}
