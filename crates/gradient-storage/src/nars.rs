//! The NARs that the server has, whoever may see them.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::Moment;
use gradient_nix::NarHash;

use crate::{Conn, StorageError, conn::query, schema::nars};

/// One NAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = nars)]
pub struct Nar {
    /// The SHA-256 of the NAR.
    pub nar_hash: NarHash,
    /// Its size in bytes.
    pub nar_size: i64,
    /// The SHA-256 of the compressed file.
    pub file_hash: NarHash,
    /// The size of that file.
    pub file_size: i64,
    /// When it came.
    pub created_at: Moment,
    /// When it was found that nobody needs it; it is removed after a while.
    pub condemned_at: Option<Moment>,
    /// When it was found that the store has lost it, or has it damaged; nobody gets it until it comes again.
    pub quarantined_at: Option<Moment>,
}

/// A NAR whose bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewNar {
    /// The SHA-256 of the NAR.
    pub nar_hash: NarHash,
    /// Its size in bytes.
    pub nar_size: u64,
    /// The SHA-256 of the compressed file.
    pub file_hash: NarHash,
    /// The size of that file.
    pub file_size: u64,
    /// When it came.
    pub created_at: Moment,
}

/// Notes that a NAR is there and needed. The file of one that is there already is never written again, however another upload was
/// compressed, so what is known of it stays; a condemned one is spared. One that was quarantined has another file now.
pub async fn claim(conn: &mut Conn, new: NewNar) -> Result<(), StorageError> {
    let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    query!(&mut *conn, |c| {
        let file = (nars::file_hash.eq(new.file_hash), nars::file_size.eq(size(new.file_size)));
        let lost = nars::table.find(new.nar_hash).filter(nars::quarantined_at.is_not_null());
        diesel::update(lost).set((file, nars::quarantined_at.eq(None::<Moment>))).execute(c).await?
    });
    query!(conn, |c| {
        let file = (nars::file_hash.eq(new.file_hash), nars::file_size.eq(size(new.file_size)));
        let nar = (nars::nar_hash.eq(new.nar_hash), nars::nar_size.eq(size(new.nar_size)), nars::created_at.eq(new.created_at));
        diesel::insert_into(nars::table)
            .values((nar, file))
            .on_conflict(nars::nar_hash)
            .do_update()
            .set(nars::condemned_at.eq(None::<Moment>))
            .execute(c)
            .await?
    });
    Ok(())
}

/// The NAR with this hash.
pub async fn lookup(conn: &mut Conn, hash: NarHash) -> Result<Option<Nar>, StorageError> {
    Ok(query!(conn, |c| nars::table.find(hash).select(Nar::as_select()).first(c).await.optional()?))
}
