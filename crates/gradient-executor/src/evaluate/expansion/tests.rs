use gradient_domain::Attribute;
use proptest::prelude::*;

use super::*;

const DERIVATION: &str = "rf5dirl5qd34s6b1pw3fw6za1923sfah-hello-1.0.drv";

/// A flake from `path` lines; `a/b` is a derivation, `a/b=` some other value, `a/b!` throws.
fn flake(paths: &[&str]) -> (Attribute, Vec<String>) {
    let mut root = Attribute::Set(BTreeMap::new());
    let mut throwing = Vec::new();
    for path in paths {
        let leaf = if path.ends_with(['=', '!']) { Attribute::Other } else { Attribute::Derivation };
        let plain = path.trim_end_matches(['=', '!']);
        if path.ends_with('!') {
            throwing.push(plain.to_owned());
        }
        let mut at = &mut root;
        for name in plain.split('/') {
            if !matches!(at, Attribute::Set(_)) {
                *at = Attribute::Set(BTreeMap::new());
            }
            let Attribute::Set(children) = at else { unreachable!("made a set above") };
            at = children.entry(name.to_owned()).or_insert(Attribute::Other);
        }
        *at = leaf;
    }
    (root, throwing)
}

/// What `probe.nix` says of the flake.
fn look(flake: &(Attribute, Vec<String>), query: &Query) -> Found {
    let mut at = &flake.0;
    for (level, name) in query.path.iter().enumerate() {
        let Attribute::Set(children) = at else { return Found::Missing };
        let Some(child) = children.get(name) else { return Found::Missing };
        if flake.1.contains(&query.path[..=level].join("/")) {
            return Found::Throws(level + 1);
        }
        at = child;
    }
    match at {
        Attribute::Derivation => {
            Found::Derivation(query.derivation.then(|| (DERIVATION.parse().unwrap(), BuildTimes::default())))
        }
        Attribute::Set(children) => Found::Set(if query.names { children.keys().cloned().collect() } else { Vec::new() }),
        Attribute::Other => Found::Other("string".to_owned()),
    }
}

/// What the wildcard finds, and how many attributes were looked at.
fn find(wildcard: &str, flake: &(Attribute, Vec<String>)) -> (Vec<String>, usize) {
    let wildcard: Wildcard = wildcard.parse().unwrap();
    let mut expansion = Expansion::new(&wildcard);
    let (mut found, mut looked) = (Vec::new(), 0);
    loop {
        let queries = expansion.next_round().unwrap();
        if queries.is_empty() {
            break;
        }
        looked += queries.len();
        for query in queries {
            found.extend(expansion.take(&query.path, &look(flake, &query)).into_iter().map(|found| match found {
                Match::Derivation(path, ..) => path.join("/"),
                Match::Failed(path, error) => format!("{}: {error}", path.join("/")),
                Match::Throws(path) => format!("{}: throws", path.join("/")),
            }));
        }
    }
    found.extend(expansion.patterns_without_match().map(|pattern| format!("nothing for {pattern}")));
    found.sort();
    (found, looked)
}

/// Names that mean something else without quotes are among them, and one that no pattern can name.
const NAMES: [&str; 8] = ["a", "b", "a.b", "a b", "*", "#", "!a", "a\"b"];

fn tree() -> impl Strategy<Value = Attribute> {
    let leaf = prop_oneof![3 => Just(Attribute::Derivation), 1 => Just(Attribute::Other)];
    let tree = leaf.prop_recursive(4, 60, 6, |inner| {
        let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
        prop::collection::btree_map(name, inner, 0..6).prop_map(Attribute::Set)
    });
    let output = prop::sample::select(&["packages", "checks"][..]).prop_map(str::to_owned);
    prop::collection::btree_map(output, tree, 1..3).prop_map(Attribute::Set)
}

/// Patterns and exclusions for such trees.
fn wildcard() -> impl Strategy<Value = Wildcard> {
    let output = || prop::sample::select(&["packages", "checks"][..]).prop_map(str::to_owned);
    let quoted = || prop::sample::select(&NAMES[..7]).prop_map(|name| format!("\"{name}\""));
    let segment = prop_oneof![quoted(), Just("*".to_owned()), Just("#".to_owned())];
    let pattern = (output(), prop::collection::vec(segment, 0..4));
    let left_out = (output(), prop::collection::vec(quoted(), 0..4)).prop_map(|(output, names)| (format!("!{output}"), names));
    let parts = (prop::collection::vec(pattern, 1..4), prop::collection::vec(left_out, 0..3));
    parts.prop_map(|(patterns, left_out)| {
        let path = |(output, rest): (String, Vec<String>)| [vec![output], rest].concat().join(".");
        patterns.into_iter().chain(left_out).map(path).collect::<Vec<_>>().join(",").parse().unwrap()
    })
}

proptest! {
    #[test]
    fn it_finds_what_any_wildcard_means(tree in tree(), wildcard in wildcard()) {
        let expected: BTreeSet<Vec<String>> = wildcard.matches(&tree);
        let flake = (tree, Vec::new());
        let mut expansion = Expansion::new(&wildcard);
        let mut found = BTreeSet::new();
        loop {
            let queries = expansion.next_round().unwrap();
            if queries.is_empty() {
                break;
            }
            for query in queries {
                for matched in expansion.take(&query.path, &look(&flake, &query)) {
                    if let Match::Derivation(path, ..) = matched {
                        prop_assert!(found.insert(path.clone()), "{:?} is found twice", path);
                    }
                }
            }
        }
        prop_assert_eq!(found, expected, "{}", wildcard);
    }
}

fn example() -> (Attribute, Vec<String>) {
    flake(&[
        "packages/x86_64-linux/hello",
        "packages/x86_64-linux/multi",
        "packages/x86_64-linux/set/inner",
        "packages/x86_64-linux/set/deep/er",
        "packages/x86_64-linux/text=",
        "packages/aarch64-linux/hello",
        "packages/aarch64-linux/multi",
        "checks/x86_64-linux/unit",
        "checks/x86_64-linux/group/a",
        "formatter/x86_64-linux",
        "nixosConfigurations/web/config/system/build/toplevel",
        "nixosConfigurations/broken/config!",
        "legacyPackages/x86_64-linux/bad!",
        "legacyPackages/x86_64-linux/good",
    ])
}

#[test]
fn it_finds_what_the_wildcard_means() {
    let (sane, throwing) = example();
    assert!(!throwing.is_empty());
    for text in [
        "packages.x86_64-linux.#",
        "packages.x86_64-linux.*",
        "packages.*",
        "packages.*.*",
        "checks.*.*",
        "formatter.*",
        "packages.*.#,!packages.aarch64-linux.multi",
        "packages.x86_64-linux.*,!packages.x86_64-linux.set,!packages.x86_64-linux.hello",
        "packages.*.hello,packages.x86_64-linux.hello",
        "packages.#.set.#",
    ] {
        let wildcard: Wildcard = text.parse().unwrap();
        let expected: Vec<_> = wildcard.matches(&sane).into_iter().map(|path| path.join("/")).collect();
        assert_eq!(find(text, &example()).0, expected, "{text}");
    }
}

#[test]
fn it_looks_at_nothing_else() {
    assert_eq!(find("packages.x86_64-linux.hello", &example()).1, 1);
    assert_eq!(find("packages.x86_64-linux.#", &example()).1, 5);
    assert_eq!(find("packages.x86_64-linux.#,!packages.x86_64-linux.text", &example()).1, 4);
}

#[test]
fn an_exact_attribute_must_be_there() {
    let check = |text: &str, expected: &[&str]| assert_eq!(find(text, &example()).0, expected);
    check("packages.x86_64-linux.nope", &["packages/x86_64-linux/nope: the flake has no such attribute"]);
    check("packages.x86_64-linux.text", &["packages/x86_64-linux/text: it is a string and no derivation"]);
    check("packages.x86_64-linux.set", &["packages/x86_64-linux/set: it is a set of attributes and no derivation"]);
    check("packages.nope.#", &["nothing for packages.nope.#"]);
    check("packages.*.nope,formatter.*", &["formatter/x86_64-linux", "nothing for packages.*.nope"]);
}

#[test]
fn what_throws_is_named_where_it_throws() {
    let check = |text: &str, expected: &[&str]| assert_eq!(find(text, &example()).0, expected);
    check("legacyPackages.*.#", &["legacyPackages/x86_64-linux/bad: throws", "legacyPackages/x86_64-linux/good"]);
    check(
        "nixosConfigurations.#.config.system.build.toplevel",
        &["nixosConfigurations/broken/config: throws", "nixosConfigurations/web/config/system/build/toplevel"],
    );
    check("legacyPackages.*.#,!legacyPackages.x86_64-linux.bad", &["legacyPackages/x86_64-linux/good"]);
}
