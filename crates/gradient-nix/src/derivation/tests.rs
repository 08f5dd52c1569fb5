use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

mod resolution;

/// Derivations as Nix 2.8.0 wrote them (`tests/vectors/make.sh`), by name.
fn vectors() -> BTreeMap<String, (StorePath, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/drv");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .map(|file| {
            let path: StorePath = file.file_name().unwrap().to_str().unwrap().parse().unwrap();
            (path.name().trim_end_matches(".drv").to_owned(), (path, fs::read(file).unwrap()))
        })
        .collect()
}

/// Verifies a vector after everything that it depends on.
fn verified(name: &str) -> VerifiedDerivation {
    fn add(path: &StorePath, files: &BTreeMap<StorePath, Vec<u8>>, known: &mut BTreeMap<StorePath, VerifiedDerivation>) {
        let name = path.name().trim_end_matches(".drv");
        let parsed = Derivation::from_aterm_bytes(&files[path], name).unwrap();
        for input in parsed.input_derivations().keys() {
            add(&input.clone().into(), files, known);
        }
        let hashes: BTreeMap<_, _> = known.iter().map(|(path, known)| (path.clone(), known.input_hash())).collect();
        known.insert(path.clone(), verify(path, &files[path], |input| hashes.get(input).copied()).unwrap());
    }
    let vectors = vectors();
    let files = vectors.values().cloned().collect();
    let mut known = BTreeMap::new();
    add(&vectors[name].0, &files, &mut known);
    known.remove(&vectors[name].0).unwrap()
}

fn refusal(name: &str, change: impl FnOnce(String) -> String) -> DerivationError {
    let (path, aterm) = vectors().remove(name).unwrap();
    let aterm = change(String::from_utf8(aterm).unwrap());
    let path = match Derivation::from_aterm_bytes(aterm.as_bytes(), name) {
        // What is refused has to be refused under the path that its own bytes give.
        Ok(parsed) => parsed.drv_path().unwrap().into(),
        Err(_) => path,
    };
    verify(&path, aterm.as_bytes(), |_| Some(InputDerivationHash::Regular([7; 32]))).unwrap_err()
}

#[test]
fn every_derivation_nix_wrote_is_believed() {
    for name in vectors().keys() {
        let derivation = verified(name);
        assert_eq!(derivation.name(), name);
        let is_deferred = matches!(derivation.input_hash(), InputDerivationHash::Deferred(_));
        assert_eq!(derivation.outputs().values().all(Option::is_some), !is_deferred);
    }
}

#[test]
fn what_a_derivation_says_of_itself() {
    let top = verified("top");
    assert_eq!(top.kind(), DerivationKind::InputAddressed);
    assert_eq!(top.required_system_features(), ["big-parallel", "kvm"]);
    assert!(top.prefer_local_build());
    assert!(!top.allow_substitutes());
    let multi = vectors()["multi-output-2.0"].0.clone();
    assert_eq!(top.input_derivations()[&multi].iter().collect::<Vec<_>>(), ["dev", "doc"]);
    assert!(top.input_sources().is_empty());
    assert!(matches!(top.input_hash(), InputDerivationHash::Regular(_)));

    let structured = verified("structured-attrs");
    assert_eq!(structured.system(), "aarch64-linux");
    assert_eq!(structured.required_system_features(), ["nixos-test"]);
    assert!(structured.prefer_local_build());
    assert!(structured.allow_substitutes());
    assert_eq!(structured.outputs().keys().collect::<Vec<_>>(), ["lib", "out"]);

    let fetch = verified("greeting.txt");
    assert_eq!(fetch.system(), "builtin");
    assert_eq!(fetch.kind(), DerivationKind::FixedOutput);
    assert_eq!(fetch.input_sources().len(), 1);
}

#[test]
fn a_fixed_output_says_what_it_has_to_be() {
    let flat = verified("fixed-flat.txt");
    let address = flat.content_address("out").unwrap();
    assert_eq!(address.hash().to_nix_base16_string(), "sha256:adcf791ae2803c0c10f0dab9c430c39ac580bf95d6a834a248f4dedd72c69665");
    assert_eq!(address.method(), ContentAddressMethod::Flat);
    assert!(matches!(flat.input_hash(), InputDerivationHash::FixedOutput(_)));
    assert_eq!(verified("fixed-rec").content_address("out").unwrap().method(), ContentAddressMethod::Nar);
    assert_eq!(verified("base").content_address("out"), None);
    // Its path says nothing of how it is made, so its inputs need not be known.
    let (path, aterm) = vectors().remove("fixed-on-built").unwrap();
    assert!(verify(&path, &aterm, |_| None).is_ok());
}

#[test]
fn what_has_no_path_beforehand_is_told_apart() {
    let impure = DerivationKind::Unsupported(UnsupportedDerivation::Impure);
    for (name, kind) in
        [("floating", DerivationKind::ContentAddressed), ("on-floating", DerivationKind::Deferred), ("impure", impure)]
    {
        let derivation = verified(name);
        assert_eq!(derivation.kind(), kind, "{name}");
        let InputDerivationHash::Deferred(hash) = derivation.input_hash() else { panic!("{name}") };
        assert_eq!(hash.is_some(), kind != impure, "{name}");
        assert_eq!(derivation.outputs()["out"], None, "{name}");
    }
    assert_eq!(verified("floating").required_system_features(), ["ca-derivations"]);
    assert!(verified("on-floating").required_system_features().is_empty());
}

#[test]
fn another_path_is_refused() {
    let (path, aterm) = vectors().remove("base").unwrap();
    let other: StorePath = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-base.drv".parse().unwrap();
    let expected = DerivationError::WrongPath { claimed: other.clone(), found: path.clone() };
    assert_eq!(verify(&other, &aterm, |_| None).unwrap_err(), expected);
    let plain: StorePath = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-base".parse().unwrap();
    assert_eq!(verify(&plain, &aterm, |_| None).unwrap_err(), DerivationError::NotADerivation { path: plain });
}

#[test]
fn an_output_that_belongs_to_another_is_refused() {
    let base = verified("base").outputs()["out"].clone().unwrap().to_absolute();
    let victim = "/nix/store/7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-base";
    let refused = refusal("base", |aterm| aterm.replace(&base, victim));
    assert!(matches!(&refused, DerivationError::Invalid { .. }), "{refused}");
    assert!(refused.to_string().contains(&base) && refused.to_string().contains(victim), "{refused}");
    // The builder writes where its environment says, so that has to agree as well.
    let refused = refusal("fixed-flat.txt", |aterm| {
        let out = verified("fixed-flat.txt").outputs()["out"].clone().unwrap().to_absolute();
        aterm.replace(&format!("(\"out\",\"{out}\")"), &format!("(\"out\",\"{victim}\")"))
    });
    assert!(refused.to_string().contains("environment value"), "{refused}");
}

#[test]
fn a_wrong_or_missing_input_is_noticed() {
    let (path, aterm) = vectors().remove("top").unwrap();
    let refused = verify(&path, &aterm, |_| None).unwrap_err();
    assert!(matches!(refused, DerivationError::UnknownInput { .. }), "{refused}");
    let refused = verify(&path, &aterm, |_| Some(InputDerivationHash::Regular([7; 32]))).unwrap_err();
    assert!(matches!(refused, DerivationError::Invalid { .. }), "{refused}");
    let refused = verify(&path, &aterm, |_| Some(InputDerivationHash::Deferred(None))).unwrap_err();
    assert!(matches!(refused, DerivationError::Invalid { .. }), "{refused}");
}

#[test]
fn bytes_that_nix_would_not_write_are_refused() {
    let refused = refusal("base", |aterm| aterm.replace("echo base", "\\echo base"));
    assert!(matches!(refused, DerivationError::NotCanonical { .. } | DerivationError::Malformed { .. }), "{refused}");
    let refused = refusal("base", |aterm| aterm + " ");
    assert!(matches!(refused, DerivationError::Malformed { .. }), "{refused}");
    let refused = refusal("base", |aterm| aterm.replace("\"/bin/sh\",[", "\"\",["));
    assert!(matches!(refused, DerivationError::Invalid { .. }), "{refused}");
}

#[test]
fn the_input_hash_is_kept_as_bytes_and_a_flag() {
    use InputDerivationHash::{Deferred, FixedOutput, Regular};
    for hash in [Regular([1; 32]), FixedOutput([2; 32]), Deferred(None), Deferred(Some([3; 32]))] {
        assert_eq!(InputDerivationHash::from_parts(hash.to_parts()), hash);
    }
}

proptest! {
    #[test]
    fn no_byte_that_changed_goes_unnoticed(pick: proptest::sample::Index, at: proptest::sample::Index, to: u8) {
        let vectors = vectors();
        let (path, aterm) = vectors.values().nth(pick.index(vectors.len())).unwrap();
        let mut changed = aterm.clone();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != to);
        changed[at] = to;
        prop_assert!(verify(path, &changed, |_| Some(InputDerivationHash::Regular([7; 32]))).is_err());
    }

    #[test]
    fn no_part_of_a_derivation_panics(pick: proptest::sample::Index, end: proptest::sample::Index) {
        let vectors = vectors();
        let (path, aterm) = vectors.values().nth(pick.index(vectors.len())).unwrap();
        prop_assert!(verify(path, &aterm[..end.index(aterm.len())], |_| None).is_err());
    }
}
