use gradient_nix::{NarInfo, PublicKey, StoreDir};
use proptest::prelude::*;

use super::*;

/// Written by `nix copy` of Nix 2.8.0; see the vectors of `gradient-nix`.
const NARINFO: &str = include_str!("../../../gradient-nix/tests/vectors/signing/narinfo");
const PUBLIC: &str = include_str!("../../../gradient-nix/tests/vectors/signing/public");
const SECRET: &str = include_str!("../../../gradient-nix/tests/vectors/signing/secret");

fn tree() -> PathInfo {
    let file_hash = "sha256:18j9yd90hjjkv5df24rh0834q4d8wx80zshs5n042iibiv74ycyc";
    PathInfo {
        path: "2vmnnlg2n5iiwmvhg8957fprn2bw0159-tree".parse().unwrap(),
        nar_hash: "sha256:07w76rv16wsb6j588p50mpmiyw1w46xs6vn78w1si7wssgqwvys4".parse().unwrap(),
        nar_size: 3024,
        file_hash: Some(file_hash.parse().unwrap()),
        file_size: Some(518),
        references: ["2vmnnlg2n5iiwmvhg8957fprn2bw0159-tree", "nvwa44pgdakc6hh2wq9mfyj4124gr5g6-base"]
            .map(|path| path.parse().unwrap())
            .into(),
        deriver: Some("j0aw2ghr4960j7nfmxajrn3i23aq29nq-tree.drv".parse().unwrap()),
        content_address: None,
        signatures: Vec::new(),
    }
}

#[test]
fn the_text_is_the_one_nix_writes() {
    let mut tree = tree();
    tree.sign(&SigningKey::from_nix_secret(SECRET).unwrap());
    // Nix names the file by its own hash, a cache of Gradient by the NAR's.
    let url = NARINFO.lines().find(|line| line.starts_with("URL")).unwrap();
    assert_eq!(tree.to_text(), NARINFO.replace(url, &format!("URL: {}", tree.url())));
}

#[test]
fn signing_again_replaces_only_the_own_signature() {
    let (key, other) = (SigningKey::from_nix_secret(SECRET).unwrap(), SigningKey::generate("h", "c", [1; 32]).unwrap());
    let mut tree = tree();
    tree.sign(&other);
    tree.sign(&key);
    tree.sign(&key);
    assert_eq!(tree.signatures.len(), 2);
    let public: PublicKey = PUBLIC.trim().parse().unwrap();
    assert!(public.verifies(&tree.fingerprint(), &tree.signatures[1]));
}

#[test]
fn no_signature_adds_a_line() {
    let mut tree = tree();
    tree.signatures = vec!["a:b\nCA: fixed:x".to_owned(), String::new(), "good:AAAA".to_owned()];
    let text = tree.to_text();
    assert_eq!(text.lines().filter(|line| line.starts_with("CA")).count(), 0);
    assert_eq!(text.lines().filter(|line| line.starts_with("Sig: ")).collect::<Vec<_>>(), ["Sig: good:AAAA"]);
    assert_eq!(tree.to_json()["Sig"], serde_json::json!(["good:AAAA"]));
}

#[test]
fn a_path_without_references_keeps_the_space_nix_expects() {
    let bare = PathInfo { references: BTreeSet::new(), deriver: None, file_hash: None, file_size: None, ..tree() };
    assert!(bare.to_text().ends_with("NarSize: 3024\nReferences: \n"), "{}", bare.to_text());
    assert_eq!(bare.to_json()["Deriver"], serde_json::Value::Null);
}

#[test]
fn the_json_has_the_keys_of_the_text() {
    let json = tree().to_json();
    let keys: BTreeSet<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "StorePath URL Compression FileHash FileSize NarHash NarSize References Deriver Sig CA";
    assert_eq!(keys, expected.split(' ').collect());
    assert_eq!(json["References"][1], "nvwa44pgdakc6hh2wq9mfyj4124gr5g6-base");
    assert_eq!(json["StorePath"], "/nix/store/2vmnnlg2n5iiwmvhg8957fprn2bw0159-tree");
}

proptest! {
    #[test]
    fn every_narinfo_is_read_back(
        nar_hash: [u8; 32],
        nar_size in 1..u64::MAX,
        file: Option<([u8; 32], u64)>,
        names in prop::collection::btree_set("[a-z0-9]{1,20}", 0..5),
        address: Option<[u8; 32]>,
    ) {
        let path = |name: &String| format!("2vmnnlg2n5iiwmvhg8957fprn2bw0159-{name}").parse::<StorePath>().unwrap();
        let mut info = PathInfo {
            path: path(&"subject".to_owned()),
            nar_hash: NarHash(nar_hash),
            nar_size,
            file_hash: file.map(|(hash, _)| NarHash(hash)),
            file_size: file.map(|(_, size)| size),
            references: names.iter().map(path).collect(),
            deriver: names.first().map(|name| path(&format!("{name}.drv"))),
            content_address: address.map(CAHash::Text),
            signatures: Vec::new(),
        };
        info.sign(&SigningKey::generate("h", "c", [1; 32]).unwrap());
        let text = info.to_text();
        let read: NarInfo = text.parse().unwrap();
        prop_assert_eq!(read.to_canonical_bytes(), text.as_bytes());
        prop_assert_eq!(read.fingerprint(&StoreDir::default()), info.fingerprint());
        prop_assert_eq!(read.nar_size(), nar_size);
        prop_assert_eq!(read.references().len(), names.len());
    }
}
