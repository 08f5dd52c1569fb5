//! The narinfo of another cache or of somebody who uploads: only what one key has signed is passed on, and it is a narinfo again.
#![no_main]

use std::sync::LazyLock;

use gradient_cache_protocol::{DeclaredPath, ForeignPath};
use gradient_nix::{NarInfo, PublicKey, StoreDir, StorePathHash};
use libfuzzer_sys::fuzz_target;

static HASH: LazyLock<StorePathHash> = LazyLock::new(|| "2vmnnlg2n5iiwmvhg8957fprn2bw0159".parse().expect("a hash"));
static KEY: LazyLock<PublicKey> =
    LazyLock::new(|| include_str!("../../crates/gradient-nix/tests/vectors/signing/public").trim().parse().expect("a key"));

fuzz_target!(|text: &[u8]| {
    let own = NarInfo::parse_in(&StoreDir::default(), text);
    if DeclaredPath::parse(text).is_ok() {
        assert!(own.is_ok(), "what is taken from an uploader");
    }
    if let Ok(found) = ForeignPath::verify(text, *HASH, &KEY, "https://cache.example") {
        let own = own.expect("what was taken from another cache");
        let passed_on = found.to_text();
        let again = NarInfo::parse_in(&StoreDir::default(), passed_on.as_bytes()).expect("what is passed on");
        assert_eq!(again.store_path(), own.store_path());
        assert_eq!((again.nar_hash(), again.nar_size()), (own.nar_hash(), own.nar_size()));
        assert_eq!(ForeignPath::verify(passed_on.as_bytes(), *HASH, &KEY, "https://other.example").as_ref(), Ok(&found));
    }
});
