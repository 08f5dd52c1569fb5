//! Both databases have the same migrations.

use std::collections::BTreeSet;

/// Every migration that only one of the databases has, and those without an `up.sql`.
pub(super) fn faults(paths: &[String]) -> Vec<String> {
    let postgres = folders(paths, "postgres");
    let sqlite = folders(paths, "sqlite");
    postgres
        .symmetric_difference(&sqlite)
        .map(|folder| {
            let missing = if postgres.contains(folder) { "sqlite" } else { "postgres" };
            format!("migrations/{missing}/{folder}/up.sql: missing, the other database has it")
        })
        .collect()
}

fn folders<'a>(paths: &'a [String], database: &str) -> BTreeSet<&'a str> {
    paths
        .iter()
        .filter_map(|path| path.strip_prefix("migrations/")?.strip_prefix(database)?.strip_prefix('/')?.strip_suffix("/up.sql"))
        .collect()
}
