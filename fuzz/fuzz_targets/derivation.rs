//! A derivation from a worker that is not believed: what is taken is written back byte by byte.
#![no_main]

use gradient_nix::{Derivation, InputDerivationHash, InputHashParts, StorePath, derivation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|aterm: &[u8]| {
    let Ok(read) = Derivation::from_aterm_bytes(aterm, "fuzzed") else { return };
    if read.to_aterm_bytes() != aterm {
        return;
    }
    // Under its own path nothing but the outputs can be wrong with it.
    let Ok(path) = read.drv_path() else { return };
    let path = StorePath::from(path);
    let known = InputDerivationHash::from_parts(InputHashParts { digest: Some([7; 32]), ..InputHashParts::default() });
    if let Ok(verified) = derivation::verify(&path, aterm, |_| Some(known)) {
        assert_eq!(verified.path(), &path);
    }
});
