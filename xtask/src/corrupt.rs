//! `cargo xtask corrupt`: 10,000 damaged uploads in one go, on both databases. The tests do the same with 400.

use anyhow::{Result, bail};

use crate::prerequisites::{self, POSTGRES};
use crate::test::postgres::Postgres;
use crate::{interrupt, workspace::cargo};

/// Fails at the first upload that is taken, or of which something is left.
pub(crate) fn run() -> Result<()> {
    interrupt::watch()?;
    prerequisites::ensure(&[&POSTGRES])?;
    let postgres = Postgres::start()?;
    let mut command = cargo(&["test", "-p", "gradient-api", "--test", "it", "ten_thousand"]);
    command.args(["--", "--ignored", "--nocapture", "--test-threads", "1"]);
    postgres.offer_to(&mut command);
    if command.status()?.success() {
        Ok(())
    } else {
        bail!("a damaged upload was not refused as it should be; it is named above")
    }
}
