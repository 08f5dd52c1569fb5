use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A flake from `path` lines; a path is a derivation, one that ends in `=` is some other value.
fn flake(paths: &[&str]) -> Attribute {
    let mut root = Attribute::Set(BTreeMap::new());
    for path in paths {
        let (path, leaf) = match path.strip_suffix('=') {
            Some(path) => (path, Attribute::Other),
            None => (*path, Attribute::Derivation),
        };
        let mut at = &mut root;
        for name in path.split('/') {
            if !matches!(at, Attribute::Set(_)) {
                *at = Attribute::Set(BTreeMap::new());
            }
            let Attribute::Set(children) = at else { unreachable!("made a set above") };
            at = children.entry(name.to_owned()).or_insert(Attribute::Other);
        }
        *at = leaf;
    }
    root
}

fn example() -> Attribute {
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
        "nixosConfigurations/a.b/config/system/build/toplevel",
        "nixosConfigurations/broken/config=",
    ])
}

fn check(wildcard: &str, expected: &[&str]) {
    let wildcard: Wildcard = wildcard.parse().unwrap_or_else(|error| panic!("{wildcard:?}: {error}"));
    let found: Vec<_> = wildcard.matches(&example()).into_iter().map(|path| path.join("/")).collect();
    assert_eq!(found, expected, "{wildcard}");
}

#[test]
fn the_table_of_the_contract() {
    check("packages.x86_64-linux.#", &["packages/x86_64-linux/hello", "packages/x86_64-linux/multi"]);
    check(
        "packages.x86_64-linux.*",
        &["packages/x86_64-linux/hello", "packages/x86_64-linux/multi", "packages/x86_64-linux/set/inner"],
    );
    check(
        "packages.*",
        &[
            "packages/aarch64-linux/hello",
            "packages/aarch64-linux/multi",
            "packages/x86_64-linux/hello",
            "packages/x86_64-linux/multi",
        ],
    );
    check("checks.*.*", &["checks/x86_64-linux/group/a", "checks/x86_64-linux/unit"]);
    check("packages.x86_64-linux.hello", &["packages/x86_64-linux/hello"]);
    check(
        "packages.*.#,!packages.aarch64-linux.multi",
        &["packages/aarch64-linux/hello", "packages/x86_64-linux/hello", "packages/x86_64-linux/multi"],
    );
    check(
        "nixosConfigurations.#.config.system.build.toplevel",
        &["nixosConfigurations/a.b/config/system/build/toplevel", "nixosConfigurations/web/config/system/build/toplevel"],
    );
}

#[test]
fn quotes_hold_a_name_together() {
    check("nixosConfigurations.\"a.b\".config.system.build.toplevel", &["nixosConfigurations/a.b/config/system/build/toplevel"]);
    let wildcard: Wildcard = "packages.\"a,b c\".#".parse().unwrap();
    assert_eq!(wildcard.patterns()[0].segments()[1], Segment::Name("a,b c".to_owned()));
    let star: Wildcard = "packages.\"*\"".parse().unwrap();
    assert_eq!(star.patterns()[0].exact(), Some(vec!["packages", "*"]));
}

#[test]
fn white_space_around_patterns_is_nothing() {
    check(" packages.x86_64-linux.hello , formatter.# ", &["formatter/x86_64-linux", "packages/x86_64-linux/hello"]);
}

#[test]
fn patterns_add_up_and_exclusions_hold_for_all() {
    check("packages.x86_64-linux.hello,!packages.x86_64-linux.hello,packages.*.hello", &["packages/aarch64-linux/hello"]);
    check("devShells.*", &[]);
}

#[test]
fn what_does_not_parse_names_the_pattern() {
    let long = "packages.a,".repeat(2000);
    for (text, expected) in [
        ("", "pattern 1 of the wildcard is empty"),
        ("packages.*,", "pattern 2 of the wildcard is empty"),
        ("packages.*,,checks.*", "pattern 2 of the wildcard is empty"),
        ("packages.*,!", "pattern 2 of the wildcard is empty"),
        (".packages", "`.packages`: a name is empty"),
        ("packages..a", "`packages..a`: a name is empty"),
        ("packages.", "`packages.`: a name is empty"),
        ("packages.\"\"", "`packages.\"\"`: a name is empty"),
        ("packages. a", "`packages. a`: white space"),
        ("packages.a b", "`packages.a b`: white space"),
        ("packages.\"a", "`packages.\"a`: quotes"),
        ("packages.\"a\"b", "`packages.\"a\"b`: quotes"),
        ("packages.a*", "`packages.a*`: `*` must not"),
        ("packages.${x}", "`packages.${x}`: `$` must not"),
        ("checks.*,!packages.*.a", "`!packages.*.a`: what `!` leaves out"),
        ("checks.*,!packages.#", "`!packages.#`: what `!` leaves out"),
        ("!packages.a", "the wildcard only leaves out"),
        ("apps.x", "`apps.x`: a pattern must begin with one of checks, packages"),
        ("*", "`*`: a pattern must begin with"),
        ("checks.*,!x.y", "`!x.y`: a pattern must begin with"),
        (&long, "the wildcard is too long"),
    ] {
        let error = text.parse::<Wildcard>().map(|wildcard| wildcard.to_string()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text:?}: {error:?} should begin with {expected:?}");
    }
}

#[test]
fn paths_are_quoted_where_they_must_be() {
    assert_eq!(attribute_path(&["packages", "x86_64-linux", "a.b", "c d", "*", "e\"f", ""]), {
        r#"packages.x86_64-linux."a.b"."c d"."*"."e\"f".”"#.replace('”', "\"\"")
    });
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-zA-Z_][a-zA-Z0-9_-]{0,5}",
        1 => Just("*".to_owned()),
        1 => Just("#".to_owned()),
        1 => "\"[a-z., *#!]{1,6}\"",
    ]
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

/// Where the derivations are.
fn derivations(attribute: &Attribute, path: &[String]) -> Vec<Vec<String>> {
    match attribute {
        Attribute::Derivation => vec![path.to_vec()],
        Attribute::Set(children) => {
            children.iter().flat_map(|(name, child)| derivations(child, &[path, std::slice::from_ref(name)].concat())).collect()
        }
        Attribute::Other => Vec::new(),
    }
}

/// Whether a pattern means a derivation, as the contract's table says it.
fn means(pattern: &Pattern, path: &[String]) -> bool {
    let segments = pattern.segments();
    let is_name = |(segment, name): (&Segment, &String)| !matches!(segment, Segment::Name(wanted) if wanted != name);
    let is_deeper = path.len() == segments.len() + 1 && segments.last() == Some(&Segment::Any);
    (path.len() == segments.len() || is_deeper) && segments.iter().zip(path).all(is_name)
}

proptest! {
    #[test]
    fn what_matches_is_what_the_contract_says(tree in tree(), wildcard in wildcard()) {
        let mut expected: std::collections::BTreeSet<_> = derivations(&tree, &[]).into_iter().collect();
        expected.retain(|path| wildcard.patterns().iter().any(|pattern| means(pattern, path)));
        expected.retain(|path| !wildcard.left_out().contains(path));
        prop_assert_eq!(wildcard.matches(&tree), expected, "{}", wildcard);
    }

    #[test]
    fn patterns_print_as_they_parse(segments in prop::collection::vec(segment(), 0..5)) {
        let text = std::iter::once("packages".to_owned()).chain(segments).collect::<Vec<_>>().join(".");
        let wildcard: Wildcard = text.parse().unwrap();
        let printed = wildcard.patterns()[0].to_string();
        let again: Wildcard = printed.parse().unwrap();
        prop_assert_eq!(again.patterns(), wildcard.patterns());
    }

    #[test]
    fn no_text_panics(text in "[a-z.,!*#\" \\\\]{0,40}") {
        if let Ok(wildcard) = text.parse::<Wildcard>() {
            prop_assert!(!wildcard.patterns().is_empty());
            prop_assert_eq!(wildcard.as_str().parse::<Wildcard>().unwrap(), wildcard);
        }
    }

    #[test]
    fn a_trailing_star_finds_what_a_hash_finds_and_more(names in prop::collection::vec("[ab](/[ab]){0,3}", 1..6)) {
        let paths: Vec<_> = names.iter().map(|name| format!("packages/{name}")).collect();
        let tree = flake(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let matches = |text: &str| text.parse::<Wildcard>().unwrap().matches(&tree);
        let (star, hash, deeper) = (matches("packages.*"), matches("packages.#"), matches("packages.*.#"));
        prop_assert_eq!(star, hash.union(&deeper).cloned().collect());
    }
}
