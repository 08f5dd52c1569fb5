use proptest::prelude::*;

use super::*;

const HELLO: &str = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello-2.12";

#[test]
fn the_serialised_form_is_the_basename() {
    let path: StorePath = HELLO.parse().unwrap();
    assert_eq!(serde_json::to_value(&path).unwrap(), HELLO);
    assert_eq!(serde_json::from_str::<StorePath>(&format!("{HELLO:?}")).unwrap(), path);
    assert!(serde_json::from_str::<StorePath>("\"/nix/store/x\"").is_err());
}

#[test]
fn only_a_path_of_its_own_is_read() {
    for refused in [
        "",
        "/nix/store/",
        HELLO,
        "/nix/store/7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello-2.12/bin",
        "/nix/store/../store/7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello-2.12",
        "/gnu/store/7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello-2.12",
        "/nix/store/eh7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello-2.12",
    ] {
        assert!(StorePath::from_absolute(refused).is_err(), "{refused}");
    }
    for refused in
        ["..", "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz", "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-", "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-a b"]
    {
        assert!(refused.parse::<StorePath>().is_err(), "{refused}");
    }
}

#[test]
fn a_hash_has_32_characters() {
    assert!("7h7qgvs4kgzsn8a6rb273saxyqh4jxlz".parse::<StorePathHash>().is_ok());
    assert!("7h7qgvs4kgzsn8a6rb273saxyqh4jxl".parse::<StorePathHash>().is_err());
    assert!("7h7qgvs4kgzsn8a6rb273saxyqh4jxlu".parse::<StorePathHash>().is_err());
    assert!("".parse::<StorePathHash>().is_err());
}

proptest! {
    #[test]
    fn a_path_is_read_back(digest: [u8; 20], name in "[0-9a-zA-Z+_?=-][0-9a-zA-Z+._?=-]{0,100}") {
        let path = StorePath::from(store_path::StorePath::from_parts(digest, &name).unwrap());
        prop_assert_eq!(path.to_string().parse::<StorePath>().unwrap(), path.clone());
        prop_assert_eq!(StorePath::from_absolute(&path.to_absolute()).unwrap(), path.clone());
        prop_assert_eq!(path.hash().to_string().parse::<StorePathHash>().unwrap(), path.hash());
        prop_assert_eq!(*path.hash().as_bytes(), digest);
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = text.parse::<StorePath>();
        let _ = text.parse::<StorePathHash>();
        let _ = StorePath::from_absolute(&text);
    }
}
