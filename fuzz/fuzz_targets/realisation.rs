//! A realisation that a client uploads, old and new: what is taken is written and taken again.
#![no_main]

use std::sync::LazyLock;

use gradient_cache_protocol::{Realisation, RealisationName};
use libfuzzer_sys::fuzz_target;

static NAMES: LazyLock<[RealisationName; 2]> = LazyLock::new(|| {
    let hash = "0123456789abcdef".repeat(4);
    let old = RealisationName::of_realisation(&format!("sha256:{hash}!out")).expect("a name");
    [old, RealisationName::of_build_trace("593bx6q141xgab079d4ph8zjri6dx4n9-floating.drv", "out").expect("a name")]
});

fuzz_target!(|json: &[u8]| {
    for name in NAMES.iter() {
        let Ok(realisation) = Realisation::parse(name.clone(), json) else { continue };
        let written = realisation.to_json();
        let again = Realisation::parse(name.clone(), written.as_bytes()).expect("a realisation that was written");
        assert_eq!(again.to_json(), written);
        assert_eq!(again.path(), realisation.path());
    }
});
