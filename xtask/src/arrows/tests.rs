use super::*;

fn check(from: &str, to: &str, use_in: UseIn, allowed: bool) {
    let edge = Edge { from: short(from).to_owned(), to: short(to).to_owned(), use_in };
    assert_eq!(edge_fault(&edge).is_none(), allowed, "{edge:?}");
}

#[test]
fn arrows_point_down() {
    check("gradient-api", "gradient-engine", UseIn::Crate, true);
    check("gradient-engine", "gradient-api", UseIn::Crate, false);
    check("gradient-scheduler", "gradient-storage", UseIn::Crate, false);
    check("gradient-worker", "gradient-executor", UseIn::Crate, true);
    check("gradient-executor", "gradient-storage", UseIn::Crate, false);
    check("gradient-worker", "gradient-storage", UseIn::Crate, false);
    check("gradient-server", "gradient-worker", UseIn::Crate, true);
    check("gradient-worker", "gradient-server", UseIn::Crate, false);
}

#[test]
fn api_does_not_reach_past_the_engine() {
    check("gradient-api", "gradient-storage", UseIn::Crate, false);
    check("gradient-api", "gradient-scheduler", UseIn::Crate, false);
}

#[test]
fn tests_may_use_what_is_below_and_test_support() {
    check("gradient-api", "gradient-storage", UseIn::Tests, true);
    check("gradient-storage", "gradient-test-support", UseIn::Tests, true);
    check("gradient-storage", "gradient-engine", UseIn::Tests, false);
    check("gradient-storage", "gradient-test-support", UseIn::Crate, false);
}

#[test]
fn an_unknown_crate_is_a_fault() {
    check("gradient-utils", "gradient-nix", UseIn::Crate, false);
}

#[test]
fn the_table_has_no_cycle() {
    for library in ["nix", "domain", "protocol", "storage", "engine", "api", "executor"] {
        assert!(!below(library).contains(library), "{library} reaches itself");
    }
}

#[test]
fn manifests_take_lints_and_versions_from_the_workspace() {
    let good = "[package]\nname = \"x\"\n[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\ndomain = { workspace = true, features = [\"sql\"] }\n";
    assert_eq!(manifest_faults(good), Vec::<String>::new());
    assert_eq!(manifest_faults("[lints]\nworkspace = true\n[dev-dependencies]\nserde = \"1\"\n").len(), 1);
    assert_eq!(manifest_faults("[dependencies]\nserde.workspace = true\n").len(), 1, "no lints");
    assert_eq!(manifest_faults("[lints]\nworkspace = true\n[dependencies.serde]\nversion = \"1\"\n").len(), 1);
}
