//! `verify-store`: what is wrong on standard output, how far it is on standard error.

use std::{
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use gradient_engine::{StoreReport, Verification};

use super::administration;
use crate::{arguments::Arguments, start};

/// From one word on how far it is to the next.
const EVERY: Duration = Duration::from_secs(5);

/// Verifies the store. An error when something is wrong, also when it was repaired.
pub(super) async fn run(repair: bool, arguments: &Arguments) -> anyhow::Result<String> {
    let administration = administration(arguments).await?;
    let blobs = start::blobs(arguments.s3.settings()?, &start::base(arguments)?).await?;
    let at_once = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut said = Instant::now();
    let mut say = |what: Verification<'_>| match what {
        Verification::Fault(fault) => println!("{fault}"),
        Verification::Progress(report, count) => {
            if said.elapsed() >= EVERY {
                said = Instant::now();
                eprintln!("{} of {count} NARs, {} MiB read, {} faults", report.nars, report.bytes >> 20, report.faults());
            }
        }
    };
    let report = administration.verify_store(&blobs, repair, at_once, &mut say).await?;
    let summary = summary(&report);
    if report.faults() == 0 {
        return Ok(summary);
    }
    println!("{summary}");
    match report.faults() {
        faults if repair => bail!("the store had {faults} faults: they are repaired as far as they can be"),
        faults => bail!("the store has {faults} faults: `verify-store --repair` puts aside what is corrupt"),
    }
}

fn summary(report: &StoreReport) -> String {
    let StoreReport { nars, bytes, missing, corrupt, unreadable, listings, strays, young_strays, quarantined, restored } = report;
    format!(
        "NARs: {nars}, {bytes} bytes read; missing: {missing}; corrupt: {corrupt}; cannot be read: {unreadable}; \
         listings missing or wrong: {listings}; files without a row: {strays}, and {young_strays} younger than a day; \
         quarantined before: {quarantined}; there again: {restored}"
    )
}
