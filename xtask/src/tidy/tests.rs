use super::*;

fn check(path: &str, text: &str, faults: usize) {
    let found = file_faults(path, text);
    assert_eq!(found.len(), faults, "{path}: {found:?}");
}

#[test]
fn long_files_are_faults() {
    check("crates/gradient-nix/src/a.rs", &"\n".repeat(400), 0);
    check("crates/gradient-nix/src/a.rs", &"\n".repeat(401), 1);
    check("docs/a.md", &"\n".repeat(401), 0);
}

#[test]
fn unfinished_work_is_a_fault() {
    check("crates/gradient-nix/src/mod.rs", "", 1);
    check("flake.nix", concat!("# TO", "DO: later"), 1);
}

#[test]
fn only_bins_read_the_environment() {
    let code = "let url = std::env::var(\"URL\");";
    check("crates/gradient-engine/src/a.rs", code, 1);
    check("bins/gradient-server/src/main.rs", code, 0);
    check("crates/gradient-engine/tests/it.rs", code, 0);
    check("crates/gradient-test-support/src/postgres.rs", code, 0);
    check("crates/gradient-engine/src/a.rs", "// std::env::var( is for bins", 0);
    check("crates/gradient-engine/src/a.rs", "    let dir = env!(\"CARGO_MANIFEST_DIR\");", 0);
}

#[test]
fn status_codes_belong_to_api() {
    check("crates/gradient-engine/src/a.rs", "StatusCode::NOT_FOUND", 1);
    check("crates/gradient-api/src/error.rs", "StatusCode::NOT_FOUND", 0);
}

#[test]
fn queries_belong_to_storage() {
    check("crates/gradient-engine/src/a.rs", "let row = diesel::select(1);", 1);
    check("crates/gradient-storage/src/a.rs", "use diesel::prelude::*;", 0);
    check("crates/gradient-domain/src/sql/key.rs", "use diesel::sql_types::Text;", 0);
    check("crates/gradient-domain/src/sql/key.rs", "use diesel::prelude::*;", 1);
    check("crates/gradient-engine/Cargo.toml", "diesel.workspace = true", 1);
    check("crates/gradient-domain/Cargo.toml", "sql = [\"dep:diesel\"]", 0);
}

#[test]
fn pure_crates_read_no_clock() {
    check("crates/gradient-scheduler/src/a.rs", "let now = Instant::now();", 1);
    check("crates/gradient-engine/src/a.rs", "let now = Instant::now();", 0);
    check("crates/gradient-nix-daemon/src/a.rs", "let now = Instant::now();", 0);
    check("crates/gradient-protocol/Cargo.toml", "tokio.workspace = true", 1);
}

#[test]
fn migrations_come_in_pairs() {
    let both = ["migrations/postgres/0001_first/up.sql", "migrations/sqlite/0001_first/up.sql"].map(str::to_owned);
    assert_eq!(migrations::faults(&both), Vec::<String>::new());
    assert_eq!(migrations::faults(&both[..1]).len(), 1);
}
