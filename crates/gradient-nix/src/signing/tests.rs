use proptest::prelude::*;

use super::*;

/// `nix-store --generate-binary-cache-key cache.example-1 secret public` (Nix 2.8.0), and what `nix store sign` made with it.
const SECRET: &str = include_str!("../../tests/vectors/signing/secret");
const PUBLIC: &str = include_str!("../../tests/vectors/signing/public");
const NARINFO: &str = include_str!("../../tests/vectors/signing/narinfo");

#[test]
fn signs_what_nix_signs() {
    let narinfo: nix_narinfo::NarInfo = NARINFO.parse().unwrap();
    let fingerprint = narinfo.fingerprint(&nix_derivation::StoreDir::default());
    let signature = narinfo.signatures()[0].to_nix_string();
    let key = SigningKey::from_nix_secret(SECRET).unwrap();
    assert_eq!(key.sign(&fingerprint), signature);
    assert_eq!(key.public().to_string(), PUBLIC.trim());
    assert!(key.public().verifies(&fingerprint, &signature));
}

#[test]
fn another_name_or_text_does_not_verify() {
    let key = SigningKey::generate("example.org", "main", [7; 32]).unwrap();
    assert_eq!(key.name(), "example.org-main");
    let signature = key.sign("1;a");
    assert!(key.public().verifies("1;a", &signature));
    assert!(!key.public().verifies("1;b", &signature));
    assert!(!key.public().verifies("1;a", &signature.replace("main", "other")));
    assert!(!SigningKey::generate("example.org", "main", [8; 32]).unwrap().public().verifies("1;a", &signature));
}

#[test]
fn a_name_that_would_break_a_line_is_refused() {
    for name in ["", "a:b", "a b", "a\nSig", "a\0"] {
        assert_eq!(SigningKey::from_bytes(name, &[1; 32]).err(), Some(KeyError::Name(name.to_owned())), "{name:?}");
    }
    assert_eq!("nocolon".parse::<PublicKey>(), Err(KeyError::NoName));
    assert_eq!("a:AAAA".parse::<PublicKey>(), Err(KeyError::Bytes { expected: 32 }));
}

#[test]
fn the_secret_does_not_show() {
    let key = SigningKey::from_bytes("a", &[7; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "SigningKey { name: \"a\", .. }");
}

proptest! {
    #[test]
    fn keys_are_read_back(seed: [u8; 32], name in "[a-z0-9.-]{1,40}", text: String) {
        let key = SigningKey::from_bytes(&name, &seed).unwrap();
        prop_assert_eq!(key.to_bytes(), seed);
        let public: PublicKey = key.public().to_string().parse().unwrap();
        prop_assert_eq!(&public, &key.public());
        prop_assert!(public.verifies(&text, &key.sign(&text)));
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = text.parse::<PublicKey>();
        let _ = SigningKey::from_nix_secret(&text);
        let key = SigningKey::from_bytes("a", &[7; 32]).unwrap();
        prop_assert!(!key.public().verifies("", &text));
    }
}
