use proptest::prelude::*;

use super::*;

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        any::<String>().prop_map(|target| Node::Symlink { target }),
        any::<(bool, u64, u64)>().prop_map(|(executable, size, nar_offset)| Node::Regular { executable, size, nar_offset }),
    ];
    leaf.prop_recursive(5, 60, 6, |node| {
        prop::collection::btree_map(any::<String>(), node, 0..6).prop_map(|entries| Node::Directory { entries })
    })
}

proptest! {
    #[test]
    fn a_listing_is_read_back(root in node()) {
        let listing = Listing::new(root);
        prop_assert_eq!(Listing::from_json(&listing.to_json().unwrap()).unwrap(), listing);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = Listing::from_json(&bytes);
    }
}

#[test]
fn what_is_not_a_listing_says_so() {
    assert!(matches!(Listing::from_json(b"{}"), Err(ListingError::Malformed(_))));
    let future = br#"{"version":2,"root":{"type":"symlink","target":"x"}}"#;
    assert!(matches!(Listing::from_json(future), Err(ListingError::Version { found: 2 })));
    assert!(matches!(Listing::from_json("[".repeat(100_000).as_bytes()), Err(ListingError::TooDeep)));
    let sizeless = br#"{"version":1,"root":{"type":"regular"}}"#;
    assert!(Listing::from_json(sizeless).unwrap_err().to_string().contains("a file has no size"));
}

#[test]
fn a_path_is_found_without_following_links() {
    let json = br#"{"version":1,"root":{"type":"directory","entries":{"a":{"type":"directory","entries":{}},"l":{"type":"symlink","target":"a"}}}}"#;
    let listing = Listing::from_json(json).unwrap();
    assert_eq!(listing.find(""), Some(listing.root()));
    assert!(matches!(listing.find("/a/"), Some(Node::Directory { .. })));
    assert!(matches!(listing.find("l"), Some(Node::Symlink { .. })));
    assert_eq!(listing.find("l/x"), None);
    assert_eq!(listing.find("a/b"), None);
}
