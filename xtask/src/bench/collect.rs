//! `cargo xtask bench collect`: how long it takes to find out what a large cache does not keep. What it measures is inside the engine,
//! so it is measured by tests that are not run otherwise.

use anyhow::{Result, bail};

use crate::prerequisites::{self, POSTGRES};
use crate::test::postgres::Postgres;
use crate::{interrupt, workspace::cargo};

/// The two measurements: in memory, and out of both databases.
const MEASUREMENTS: [&[&str]; 2] = [
    &["test", "--release", "-p", "gradient-engine", "--lib", "the_mark_is_fast"],
    &["test", "--release", "-p", "gradient-engine", "--test", "it", "the_mark_of_a_large_cache_is_fast"],
];

pub(super) fn run() -> Result<()> {
    interrupt::watch()?;
    prerequisites::ensure(&[&POSTGRES])?;
    let postgres = Postgres::start()?;
    for words in MEASUREMENTS {
        let mut command = cargo(words);
        command.args(["--", "--ignored", "--nocapture", "--test-threads", "1"]);
        postgres.offer_to(&mut command);
        if !command.status()?.success() {
            bail!("the measurement failed");
        }
    }
    Ok(())
}
