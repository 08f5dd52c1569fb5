//! How long builds took: one row for each package, which sums up all of its builds.
//!
//! Packages are everybody's: a row says nothing of who built it, or when, and organizations see of it only when their own builds may
//! begin.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::Moment;

use crate::{Conn, StorageError, conn::query, schema::build_durations};

/// What is known of one package.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = build_durations)]
pub struct BuildDuration {
    /// The package's name, without a version.
    pub name: String,
    /// What it is built on.
    pub system: String,
    /// Whether it is a fetch.
    pub fixed: bool,
    /// The mean of the logarithms of seconds.
    pub log_mean: f32,
    /// How far they are from it.
    pub log_variance: f32,
    /// How many builds say so, up to the number that counts.
    pub observations: i32,
    /// When the last of them ended.
    pub updated_at: Moment,
}

/// All of them, those that changed last at the end.
pub async fn list(conn: &mut Conn) -> Result<Vec<BuildDuration>, StorageError> {
    Ok(query!(conn, |c| {
        let all = build_durations::table.order((build_durations::updated_at, build_durations::name));
        all.select(BuildDuration::as_select()).load(c).await?
    }))
}

/// Keeps what is known now. To be called in a transaction.
pub async fn put_many(conn: &mut Conn, durations: &[BuildDuration]) -> Result<(), StorageError> {
    for duration in durations {
        query!(&mut *conn, |c| {
            let known = (
                build_durations::log_mean.eq(duration.log_mean),
                build_durations::log_variance.eq(duration.log_variance),
                build_durations::observations.eq(duration.observations),
                build_durations::updated_at.eq(duration.updated_at),
            );
            diesel::insert_into(build_durations::table)
                .values(duration)
                .on_conflict((build_durations::name, build_durations::system, build_durations::fixed))
                .do_update()
                .set(known)
                .execute(c)
                .await?
        });
    }
    Ok(())
}

/// Removes what has not changed for the longest time, beyond as many as are kept. How many that were.
pub async fn delete_beyond(conn: &mut Conn, kept: i64) -> Result<usize, StorageError> {
    let last: Option<Moment> = query!(&mut *conn, |c| {
        let times = build_durations::table.order(build_durations::updated_at.desc()).select(build_durations::updated_at);
        times.offset(kept).first(c).await.optional()?
    });
    let Some(last) = last else { return Ok(0) };
    Ok(query!(conn, |c| {
        let old = build_durations::table.filter(build_durations::updated_at.le(last));
        diesel::delete(old).execute(c).await?
    }))
}
