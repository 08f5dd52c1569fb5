//! What an output declares for download: nothing in it leads out of the store path that it names.
#![no_main]

use gradient_nix::build_products::{MAX_PRODUCTS, parse_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let products = parse_bytes(file);
    assert!(products.len() <= MAX_PRODUCTS);
    for product in products {
        assert!(!product.subpath.starts_with('/'));
        assert!(product.subpath.split('/').all(|part| part != ".."));
        assert!(product.default_path.iter().all(|path| path.split('/').all(|part| part != "..")));
    }
});
