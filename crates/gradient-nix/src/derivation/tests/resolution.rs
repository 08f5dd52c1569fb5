//! What Nix makes of derivations whose inputs' paths are only known once those are built.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::NixHash;

use super::*;

/// An output as Nix realised it.
struct Realised {
    derivation: StorePath,
    output: String,
    path: StorePath,
    /// What the derivation was resolved to, when that is another one.
    resolved: Option<StorePath>,
    hash: [u8; 32],
}

/// What `make.sh` wrote with one version of Nix.
struct Vectors {
    folder: PathBuf,
    realised: Vec<Realised>,
}

impl Vectors {
    fn of(version: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/resolution").join(version);
        let lines = fs::read_to_string(folder.join("realisations")).unwrap();
        let realised = lines.lines().map(|line| {
            let [derivation, output, path, resolved, hash] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let NixHash::Sha256(hash) = hash.parse().unwrap() else { panic!("{hash}") };
            let resolved = resolved.parse().ok();
            Realised {
                derivation: derivation.parse().unwrap(),
                output: output.to_owned(),
                path: path.parse().unwrap(),
                resolved,
                hash,
            }
        });
        Self { realised: realised.collect(), folder }
    }

    fn aterm(&self, folder: &str, path: &StorePath) -> Vec<u8> {
        fs::read(self.folder.join(folder).join(path.to_string())).unwrap()
    }

    /// All derivations; inputs come before what needs them.
    fn verified(&self) -> BTreeMap<StorePath, VerifiedDerivation> {
        let mut known: BTreeMap<StorePath, VerifiedDerivation> = BTreeMap::new();
        for Realised { derivation, .. } in &self.realised {
            let hash = |input: &StorePath| known.get(input).map(VerifiedDerivation::input_hash);
            let verified = verify(derivation, &self.aterm("drv", derivation), hash).unwrap();
            known.insert(derivation.clone(), verified);
        }
        known
    }

    fn paths(&self) -> HashMap<(&StorePath, &str), &StorePath> {
        self.realised.iter().map(|realised| ((&realised.derivation, realised.output.as_str()), &realised.path)).collect()
    }
}

#[test]
fn a_derivation_is_resolved_to_what_nix_resolves_it_to() {
    for version in ["2.8", "2.34"] {
        let vectors = Vectors::of(version);
        let (known, paths) = (vectors.verified(), vectors.paths());
        let mut count = 0;
        for Realised { derivation, output, path, resolved, .. } in &vectors.realised {
            let derivation = known[derivation].as_validated().as_derivation();
            let resolution =
                resolve(derivation, |input, output| paths.get(&(input, output)).map(|path| (*path).clone())).unwrap();
            let Some(resolved) = resolved else { continue };
            let expected = vectors.aterm("resolved", resolved);
            assert_eq!(
                String::from_utf8(resolution.to_aterm_bytes()).unwrap(),
                String::from_utf8(expected).unwrap(),
                "{version}: {resolved}"
            );
            assert_eq!(StorePath::from(resolution.drv_path().unwrap()), *resolved);
            if let Some(known) = resolution.resolved_outputs().unwrap()[output].path.clone() {
                assert_eq!(StorePath::from(known), *path, "{version}: {resolved}");
            }
            count += 1;
        }
        assert_eq!(count, 10, "{version}");
    }
}

#[test]
fn realisations_are_named_as_nix_names_them() {
    for version in ["2.8", "2.34"] {
        let vectors = Vectors::of(version);
        let known = vectors.verified();
        let mut count = 0;
        for Realised { derivation, hash, .. } in &vectors.realised {
            let verified = &known[derivation];
            let found = realisation_hash(verified.as_validated().as_derivation(), |input| Some(known.get(input)?.input_hash()));
            assert_eq!(found.is_some(), verified.kind().is_resolved_first(), "{version}: {derivation}");
            if let Some(found) = found {
                assert_eq!(found, *hash, "{version}: {derivation}");
                count += 1;
            }
        }
        assert_eq!(count, 11, "{version}");
    }
}

#[test]
fn what_is_not_known_cannot_be_resolved() {
    let vectors = Vectors::of("2.8");
    let known = vectors.verified();
    let chain = known.values().find(|derivation| derivation.name() == "chain").unwrap();
    let input = chain.input_derivations().keys().next().unwrap().clone();
    let refused = resolve(chain.as_validated().as_derivation(), |_, _| None).unwrap_err();
    assert_eq!(refused, ResolutionError::Unknown { input, output: "dev".to_owned() });
    // What has its paths keeps them, and needs nothing to be known.
    let plain = known.values().find(|derivation| derivation.name() == "plain").unwrap();
    let plain = plain.as_validated().as_derivation();
    assert_eq!(resolve(plain, |_, _| None).unwrap(), *plain);
}
