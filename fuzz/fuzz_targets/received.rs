//! A NAR from a client, in every compression that Nix has: one that is not zstd is compressed anew, and is the same NAR then.
#![no_main]

use std::sync::LazyLock;

use gradient_cache_protocol::ingest::{NarFileName, receive};
use libfuzzer_sys::fuzz_target;

/// Bounds what a bomb may unpack, so that a run stays fast.
const MAX_NAR: u64 = 1 << 20;

/// Formats are known by how they begin, except those that begin with nothing of their own.
static NAMES: LazyLock<Vec<NarFileName>> = LazyLock::new(|| {
    let hash = "1xsjkazpfgyyy38br89kz2plvdb4dkqcjl5mh0n2py3ndf0sc48j";
    ["", ".zst", ".br", ".lzma"].map(|extension| format!("{hash}.nar{extension}").parse().expect("a name")).into()
});

fuzz_target!(|upload: &[u8]| {
    for name in NAMES.iter() {
        let mut kept = Vec::new();
        // No input has the hash in the name. What is verified besides is what the target `upload` looks at.
        if receive(upload, name, &mut kept, MAX_NAR).is_ok() {
            assert!(!kept.is_empty());
        }
    }
});
