//! What tests need of the world around: throwaway services that belong to one test and are gone after it.
//!
//! ```
//! let store = gradient_test_support::nix::Store::new("max-jobs = 1")?;
//! assert!(store.root().is_dir());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Databases
//!
//! A test body is an async function that takes the URL of an empty database. [`both_databases!`] makes two tests of it: one on
//! an SQLite file, one on a PostgreSQL database of its own.
//!
//! ```
//! # mod tests {
//! async fn has_a_scheme(url: &str) {
//!     assert!(url.starts_with("sqlite:") || url.starts_with("postgres"));
//! }
//!
//! gradient_test_support::both_databases!(has_a_scheme);
//! # }
//! # gradient_test_support::on_sqlite(async |url| assert!(url.starts_with("sqlite:")));
//! ```
//!
//! # Programs from PyPI, npm and crates.io
//!
//! A mail server, an OpenID provider and an S3-compatible server, which `cargo xtask packages` installs. Without
//! `GRADIENT_TEST_PYTHON`, `GRADIENT_TEST_OIDC_PROVIDER` and `GRADIENT_TEST_S3_SERVER` the tests that need them are skipped with a
//! line that says so, or fail when `GRADIENT_TEST_REQUIRE_PACKAGES` is `1`.
//!
//! # PostgreSQL
//!
//! PostgreSQL is the server at `GRADIENT_TEST_POSTGRES_URL`, which `cargo xtask test` starts; its user must be allowed to create
//! databases. Without that variable the test is skipped with a line that says so, or fails when `GRADIENT_TEST_REQUIRE_POSTGRES`
//! is `1`. Databases are removed with their tests, or left to go with the server when `GRADIENT_TEST_POSTGRES_IS_THROWAWAY` is `1`.

mod database;
#[cfg(feature = "deployment")]
pub mod deployment;
pub mod nix;
pub mod ssh;

use std::env;

pub use database::{PostgresDatabase, SqliteDatabase};

/// Makes two tests of an async function that takes the URL of an empty database: `<name>::sqlite` and `<name>::postgres`.
#[macro_export]
macro_rules! both_databases {
    ($($body:ident),+ $(,)?) => {
        $(
            mod $body {
                #[test]
                fn sqlite() {
                    $crate::on_sqlite(async |url: &str| super::$body(url).await);
                }

                #[test]
                fn postgres() {
                    $crate::on_postgres(async |url: &str| super::$body(url).await);
                }
            }
        )+
    };
}

/// Runs `body` with the URL of an empty SQLite database, on a current-thread runtime.
pub fn on_sqlite(body: impl AsyncFnOnce(&str)) {
    let database = SqliteDatabase::create();
    block_on(body(database.url()));
}

/// Runs `body` with the URL of an empty PostgreSQL database, on a current-thread runtime, where there is a server to make it on.
pub fn on_postgres(body: impl AsyncFnOnce(&str)) {
    if let Some(database) = postgres() {
        block_on(body(database.url()));
    }
}

/// An empty PostgreSQL database; `None`, with a line on standard error, when there is no server and none is required.
///
/// # Panics
///
/// When `GRADIENT_TEST_REQUIRE_POSTGRES` is `1` and there is no server.
pub fn postgres() -> Option<PostgresDatabase> {
    if let Ok(server) = env::var("GRADIENT_TEST_POSTGRES_URL") {
        let is_throwaway = env::var("GRADIENT_TEST_POSTGRES_IS_THROWAWAY").is_ok_and(|value| value == "1");
        let create = if is_throwaway { PostgresDatabase::create_on_throwaway } else { PostgresDatabase::create };
        return Some(create(&server));
    }
    let required = env::var("GRADIENT_TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
    assert!(!required, "GRADIENT_TEST_POSTGRES_URL is not set, and GRADIENT_TEST_REQUIRE_POSTGRES is 1");
    eprintln!("skipped on PostgreSQL: GRADIENT_TEST_POSTGRES_URL is not set");
    None
}

/// What a variable names; `None`, with a line on standard error, when it is not set and none is required.
///
/// # Panics
///
/// When `GRADIENT_TEST_REQUIRE_PACKAGES` is `1` and the variable is not set.
#[cfg(feature = "deployment")]
pub(crate) fn package(variable: &str) -> Option<std::path::PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Some(path.into());
    }
    let required = env::var("GRADIENT_TEST_REQUIRE_PACKAGES").is_ok_and(|value| value == "1");
    assert!(!required, "{variable} is not set, and GRADIENT_TEST_REQUIRE_PACKAGES is 1");
    eprintln!("skipped: {variable} is not set; see `cargo xtask packages`");
    None
}

fn block_on(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}")).block_on(body);
}
