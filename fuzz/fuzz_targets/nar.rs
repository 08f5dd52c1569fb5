//! A NAR: what is taken has a listing that can be stored, in which every file lies within the NAR.
#![no_main]

use gradient_nix::nar::{Files, Listing, Node, read_with_files};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|nar: &[u8]| {
    let (mut root, mut build_products) = (Vec::new(), Vec::new());
    let files = Files { root: &mut root, build_products: &mut build_products };
    let Ok(listing) = read_with_files(nar, files) else { return };
    check(listing.root(), nar.len() as u64);
    let json = listing.to_json().expect("the listing of a NAR");
    assert_eq!(Listing::from_json(&json).expect("a listing that was written"), listing);
});

fn check(node: &Node, length: u64) {
    match node {
        Node::Regular { size, nar_offset, .. } => assert!(nar_offset + size <= length),
        Node::Directory { entries } => entries.values().for_each(|node| check(node, length)),
        Node::Symlink { .. } => {}
    }
}
