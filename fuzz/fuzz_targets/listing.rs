//! A stored listing: what is read is written and read again.
#![no_main]

use gradient_nix::nar::Listing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let Ok(listing) = Listing::from_json(json) else { return };
    let _ = listing.find("a/b");
    let written = listing.to_json().expect("a listing that was read");
    assert_eq!(Listing::from_json(&written).expect("a listing that was written"), listing);
});
