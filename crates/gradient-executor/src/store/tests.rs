use super::*;

const SOURCE: &str = "/nix/store/vvwmn6b5gh2lvkyi4gpnag6d4jdh4d8p-source";
/// Printed by `nix-store --dump-db` of Nix 2.8 and 2.34.
const DUMP: &str = "/nix/store/vvwmn6b5gh2lvkyi4gpnag6d4jdh4d8p-source
d9edd718b51013c69d9ead59cfc19195d53a4673553931c57f034e3d5743feb8
8432

0
/nix/store/rf5dirl5qd34s6b1pw3fw6za1923sfah-hello-1.0.drv
97f4002d544ebffdf36667d6f1579b77ebeb889ad7fe5c6310f311b4ab1fe96a
728

1
/nix/store/wd92y62x9zz1hmm71z0yc6p6jkh8zafj-src
";

fn path(absolute: &str) -> StorePath {
    StorePath::from_absolute(absolute).unwrap()
}

#[test]
fn registrations_are_read() {
    let records = parse_registrations(DUMP).unwrap();
    let source = &records[&path(SOURCE)];
    assert_eq!(source.nar_hash.to_string(), "sha256:1f7y8dbkskh3gz2k2famfd33mmcmj70wynddksfwc4qhnlcdgvfr");
    assert_eq!(source.references, BTreeSet::new());
    let drv = &records[&path("/nix/store/rf5dirl5qd34s6b1pw3fw6za1923sfah-hello-1.0.drv")];
    assert_eq!(drv.references, BTreeSet::from([path("/nix/store/wd92y62x9zz1hmm71z0yc6p6jkh8zafj-src")]));
    for end in 0..DUMP.len() {
        // Whatever is cut off, nothing is made up.
        let _ = parse_registrations(&DUMP[..end]);
    }
    assert!(parse_registrations("no path\n").is_err());
}

#[test]
fn a_source_is_known_by_its_content() {
    let records = parse_registrations(DUMP).unwrap();
    let record = &records[&path(SOURCE)];
    let nar = CAHash::Nar(NixHash::Sha256(*record.nar_hash.as_bytes()));
    assert!(addresses(&nar, &path(SOURCE), record));
    assert!(!addresses(&CAHash::Text(*record.nar_hash.as_bytes()), &path(SOURCE), record));
    assert!(!addresses(&nar, &path("/nix/store/vvwmn6b5gh2lvkyi4gpnag6d4jdh4d8p-other"), record));
}

#[test]
fn references_come_first() {
    let named = |name: &str| path(&format!("/nix/store/{}-{name}", "0".repeat(32)));
    let record = |references: &[&str]| Record {
        nar_hash: NarHash([0; 32]),
        references: references.iter().map(|name| named(name)).collect(),
    };
    let records = BTreeMap::from([
        (named("a"), record(&["b", "c", "a"])),
        (named("b"), record(&["c"])),
        (named("c"), record(&[])),
        (named("d"), record(&["a"])),
    ]);
    let order: Vec<_> = references_first(&records).iter().map(|path| path.name().to_owned()).collect();
    assert_eq!(order, ["c", "b", "a", "d"]);
}
