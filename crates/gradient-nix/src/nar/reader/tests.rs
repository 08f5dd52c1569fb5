use std::io::BufReader;

use nix_archive::nar::{Encoder, encode_regular};
use proptest::prelude::*;

use super::*;

const TREE: &[u8] = include_bytes!("../../../tests/vectors/nar/tree.nar");
const LISTING: &[u8] = include_bytes!("../../../tests/vectors/nar/tree.ls");
const FILE: &[u8] = include_bytes!("../../../tests/vectors/nar/file.nar");

fn nested(depth: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new()).unwrap();
    encoder.start_directory(None).unwrap();
    (1..depth).for_each(|_| encoder.start_directory(Some(b"d")).unwrap());
    (0..depth).for_each(|_| encoder.end_directory().unwrap());
    encoder.finish().unwrap()
}

fn directory_with(add: impl FnOnce(&mut Encoder<Vec<u8>>)) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new()).unwrap();
    encoder.start_directory(None).unwrap();
    add(&mut encoder);
    encoder.end_directory().unwrap();
    encoder.finish().unwrap()
}

/// The listing, the file that the NAR is, and its build products.
fn read_copying(nar: &[u8]) -> (Listing, Vec<u8>, Vec<u8>) {
    let (mut root, mut build_products) = (Vec::new(), Vec::new());
    let listing = read_with_files(nar, Files { root: &mut root, build_products: &mut build_products }).unwrap();
    (listing, root, build_products)
}

#[test]
fn the_listing_is_the_one_nix_writes() {
    let listing = read(BufReader::new(TREE)).unwrap();
    assert_eq!(String::from_utf8(listing.to_json().unwrap()).unwrap(), str::from_utf8(LISTING).unwrap());
}

#[test]
fn offsets_lead_to_the_contents() {
    let listing = read(TREE).unwrap();
    let Some(&Node::Regular { size, nar_offset, executable: false }) = listing.find("lib/eight") else { panic!("{listing:?}") };
    let start = usize::try_from(nar_offset).unwrap();
    assert_eq!(&TREE[start..start + usize::try_from(size).unwrap()], b"12345678");
}

#[test]
fn a_file_that_is_the_root_is_copied_out() {
    let (listing, root, _) = read_copying(FILE);
    assert_eq!(root, include_bytes!("../../../tests/vectors/nar/file"));
    assert!(matches!(listing.root(), Node::Regular { executable: false, .. }));
    assert!(read_copying(TREE).1.is_empty());
}

#[test]
fn build_products_are_copied_out_of_their_one_place() {
    let products = |nar: &mut Encoder<Vec<u8>>, text: &[u8]| nar.regular(Some(b"hydra-build-products"), false, text).unwrap();
    let nar = directory_with(|nar| {
        products(nar, b"at the root");
        nar.start_directory(Some(b"nix-support")).unwrap();
        nar.start_directory(Some(b"a")).unwrap();
        products(nar, b"too deep");
        nar.end_directory().unwrap();
        products(nar, b"here");
        nar.end_directory().unwrap();
        nar.start_directory(Some(b"z")).unwrap();
        products(nar, b"elsewhere");
        nar.end_directory().unwrap();
    });
    assert_eq!(read_copying(&nar).2, b"here");
    assert!(read_copying(TREE).2.is_empty());
}

#[test]
fn depth_is_bounded_as_in_nix() {
    let deepest = read(nested(64).as_slice()).unwrap();
    assert_eq!(Listing::from_json(&deepest.to_json().unwrap()).unwrap(), deepest);
    // The encoder knows the same bound, so one more level is put around by hand.
    let token = |text: &str| {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    let tokens = |texts: &[&str]| texts.iter().flat_map(|text| token(text)).collect::<Vec<_>>();
    let mut hostile = token("nix-archive-1");
    (0..100_000).for_each(|_| hostile.extend(tokens(&["(", "type", "directory", "entry", "(", "name", "d", "node"])));
    let refused = read(hostile.as_slice()).unwrap_err();
    assert!(matches!(refused, NarError::Malformed(nix_archive::nar::Error::MaxDepth(64))), "{refused}");
}

#[test]
fn what_no_file_system_holds_is_refused() {
    let name = vec![b'n'; MAX_NAME_BYTES + 1];
    let refused = read(directory_with(|nar| nar.symlink(Some(&name), b"x").unwrap()).as_slice()).unwrap_err();
    assert!(matches!(refused, NarError::NameTooLong { found: 256 }), "{refused}");
    for target in [vec![], vec![b't'; MAX_TARGET_BYTES + 1], b"a\0b".to_vec()] {
        let refused = read(directory_with(|nar| nar.symlink(Some(b"n"), &target).unwrap()).as_slice()).unwrap_err();
        assert!(matches!(refused, NarError::Target { .. }), "{refused}");
    }
}

#[test]
fn other_bytes_are_not_a_nar() {
    for bytes in [b"".as_slice(), b"hello", &TREE[..TREE.len() - 8], &[TREE, b"\0"].concat()] {
        assert!(matches!(read(bytes), Err(NarError::Malformed(_))));
    }
}

proptest! {
    #[test]
    fn no_cut_or_changed_nar_is_read(at in 0..TREE.len(), to: u8) {
        prop_assert!(read(&TREE[..at]).is_err());
        let mut changed = TREE.to_vec();
        changed[at] = to;
        let _ = read(changed.as_slice());
    }

    #[test]
    fn a_file_is_listed_with_its_size(contents: Vec<u8>, executable: bool) {
        let mut nar = Vec::new();
        encode_regular(&mut nar, &contents, executable).unwrap();
        let (listing, copied, _) = read_copying(&nar);
        let nar_offset = if executable { 128 } else { 96 };
        let size = contents.len() as u64;
        prop_assert_eq!(listing.root(), &Node::Regular { executable, size, nar_offset });
        prop_assert_eq!(copied, contents);
    }
}
