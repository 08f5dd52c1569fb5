//! Whether the store has what the database says, and is what it was when it was verified.
//!
//! Everything is read again as it was when it came in. It needs as much memory as the listings of a few NARs, whatever the store's size,
//! and a server may run meanwhile: what seems wrong is looked at again in the database before it is believed.

mod check;
mod strays;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use gradient_blobs::{BlobKey, Blobs};
use gradient_domain::Moment;
use gradient_nix::NarHash;
use gradient_storage::{
    Conn, Storage,
    nars::{self, Nar},
    verification,
};

use super::Administration;
use crate::EngineError;
use check::{Listed, State};

/// NARs that are looked up at a time.
const ROWS: i64 = 200;

/// How long a file may be without a row: uploads are on their way for less than that.
const STRAY_AFTER: Duration = Duration::from_hours(24);

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The database has the NAR, the store does not.
    Missing(NarHash),
    /// The stored NAR is not what it was, and why.
    Corrupt(NarHash, String),
    /// The stored NAR cannot be read now, and why. It is left alone.
    Unreadable(NarHash, String),
    /// The NAR has no listing.
    NoListing(NarHash),
    /// The listing of the NAR is not its own.
    WrongListing(NarHash),
    /// The store has a file of this name that the database knows nothing of, for longer than an upload takes.
    Stray(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(nar) => write!(f, "missing: {}", BlobKey::nar(nar)),
            Self::Corrupt(nar, why) => write!(f, "corrupt: {}: {why}", BlobKey::nar(nar)),
            Self::Unreadable(nar, why) => write!(f, "cannot be read: {}: {why}", BlobKey::nar(nar)),
            Self::NoListing(nar) => write!(f, "missing: {}", BlobKey::listing(nar)),
            Self::WrongListing(nar) => write!(f, "corrupt: {}: it is not the listing of its NAR", BlobKey::listing(nar)),
            Self::Stray(name) => write!(f, "without a row: {name}"),
        }
    }
}

/// What was found, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// NARs that were looked at.
    pub nars: u64,
    /// The bytes of their files that were read.
    pub bytes: u64,
    /// NARs whose file is missing.
    pub missing: u64,
    /// NARs whose file is corrupt.
    pub corrupt: u64,
    /// NARs whose file cannot be read now.
    pub unreadable: u64,
    /// Listings that are missing or wrong.
    pub listings: u64,
    /// Files without a row, older than a day.
    pub strays: u64,
    /// Files without a row that may belong to uploads on their way.
    pub young_strays: u64,
    /// NARs that are quarantined already and have not come again.
    pub quarantined: u64,
    /// Quarantined NARs whose file is there again, and good.
    pub restored: u64,
}

impl StoreReport {
    /// How much is wrong.
    pub fn faults(&self) -> u64 {
        self.missing + self.corrupt + self.unreadable + self.listings + self.strays
    }
}

/// What there is to say on the way.
#[derive(Debug)]
pub enum Verification<'a> {
    /// Something is wrong.
    Fault(&'a Fault),
    /// So much was looked at, of so many NARs.
    Progress(&'a StoreReport, u64),
}

/// One verification.
struct Verifier<'a> {
    storage: &'a Storage,
    blobs: &'a Blobs,
    repair: bool,
    report: StoreReport,
    say: &'a mut (dyn FnMut(Verification<'_>) + Send),
}

impl Administration {
    /// Reads every stored NAR again, `at_once` of them at the same time. With `repair`, what is corrupt is put aside and what is missing
    /// is hidden until it comes again, listings are written anew, and files without a row go when they are older than a day.
    pub async fn verify_store(
        &self,
        blobs: &Blobs,
        repair: bool,
        at_once: usize,
        say: &mut (dyn FnMut(Verification<'_>) + Send),
    ) -> Result<StoreReport, EngineError> {
        let mut verifier = Verifier { storage: &self.storage, blobs, repair, report: StoreReport::default(), say };
        verifier.nars(at_once.max(1)).await?;
        verifier.strays().await?;
        Ok(verifier.report)
    }
}

impl Verifier<'_> {
    async fn nars(&mut self, at_once: usize) -> Result<(), EngineError> {
        let count = self.storage.read(async |conn: &mut Conn| verification::count(conn).await).await?;
        let count = u64::try_from(count).unwrap_or(0);
        let mut after = None;
        loop {
            let page = async move |conn: &mut Conn| verification::page(conn, after, ROWS).await;
            let page = self.storage.read(page).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.nar_hash);
            let blobs = self.blobs;
            let mut checked =
                stream::iter(page).map(|row| async move { (row, check::check(blobs, &row).await) }).buffer_unordered(at_once);
            while let Some((row, state)) = checked.next().await {
                self.report.nars += 1;
                self.found(&row, state?).await?;
                (self.say)(Verification::Progress(&self.report, count));
            }
        }
    }

    /// Believes what was found, after another look at the row: the server may have removed the NAR, or have got it again.
    async fn found(&mut self, row: &Nar, state: State) -> Result<(), EngineError> {
        let hash = row.nar_hash;
        if let State::Good { file_size, .. } = &state {
            self.report.bytes += file_size;
        }
        if let (State::Good { listed: Listed::Well, .. }, None) = (&state, row.quarantined_at) {
            return Ok(());
        }
        let now = self.storage.read(async move |conn: &mut Conn| nars::lookup(conn, hash).await).await?;
        let is_same = |now: Nar| (now.file_hash, now.quarantined_at) == (row.file_hash, row.quarantined_at);
        if !now.is_some_and(is_same) {
            return Ok(());
        }
        match state {
            State::Good { listed, file_hash, file_size } => {
                self.listing(hash, listed).await?;
                if row.quarantined_at.is_some() {
                    self.report.restored += 1;
                    if self.repair {
                        self.restore(hash, file_hash, file_size).await?;
                    }
                }
            }
            State::Missing if row.quarantined_at.is_some() => self.report.quarantined += 1,
            State::Missing => {
                self.report.missing += 1;
                self.fault(&Fault::Missing(hash));
                self.hide(hash).await?;
            }
            State::Corrupt(why) => {
                self.report.corrupt += 1;
                self.fault(&Fault::Corrupt(hash, why));
                if self.repair {
                    self.blobs.put_aside(BlobKey::nar(&hash).as_str()).await?;
                    // It is made again from what comes; whether this one is right, nobody can tell now.
                    self.blobs.put_aside(BlobKey::listing(&hash).as_str()).await?;
                    self.hide(hash).await?;
                }
            }
            State::Unreadable(why) => {
                self.report.unreadable += 1;
                self.fault(&Fault::Unreadable(hash, why));
            }
        }
        Ok(())
    }

    async fn listing(&mut self, nar: NarHash, listed: Listed) -> Result<(), EngineError> {
        let (fault, compressed) = match listed {
            Listed::Well => return Ok(()),
            Listed::Not(compressed) => (Fault::NoListing(nar), compressed),
            Listed::Wrong(compressed) => (Fault::WrongListing(nar), compressed),
        };
        self.report.listings += 1;
        self.fault(&fault);
        if self.repair {
            let key = BlobKey::listing(&nar);
            self.blobs.put_aside(key.as_str()).await?;
            self.blobs.put(&key, compressed.into()).await?;
        }
        Ok(())
    }

    /// Nobody gets the NAR until it comes again. It may have come since it was looked for.
    async fn hide(&mut self, nar: NarHash) -> Result<(), EngineError> {
        if !self.repair {
            return Ok(());
        }
        let now = Moment::now();
        self.storage.write(async move |conn: &mut Conn| verification::quarantine(conn, nar, now).await).await?;
        let row = self.storage.read(async move |conn: &mut Conn| nars::lookup(conn, nar).await).await?;
        let Some(row) = row.filter(|row| row.quarantined_at.is_some()) else { return Ok(()) };
        if let State::Good { file_hash, file_size, .. } = check::check(self.blobs, &row).await? {
            self.restore(nar, file_hash, file_size).await?;
        }
        Ok(())
    }

    async fn restore(&self, nar: NarHash, file_hash: NarHash, file_size: u64) -> Result<(), EngineError> {
        let size = i64::try_from(file_size).unwrap_or(i64::MAX);
        let restore = async move |conn: &mut Conn| verification::restore(conn, nar, file_hash, size).await;
        Ok(self.storage.write(restore).await?)
    }

    fn fault(&mut self, fault: &Fault) {
        (self.say)(Verification::Fault(fault));
    }
}
