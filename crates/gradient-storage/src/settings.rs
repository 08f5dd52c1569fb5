//! What the server remembers of itself: fingerprints of its secrets, its term.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::{
    Conn, StorageError,
    conn::query,
    error::{found, hit},
    schema::server_settings::{self, key, value},
};

/// The value of a setting.
pub async fn lookup(conn: &mut Conn, name: &str) -> Result<Option<String>, StorageError> {
    Ok(query!(conn, |c| server_settings::table.find(name).select(value).first(c).await.optional()?))
}

/// Keeps a value unless there is one already; answers the one that is there then.
pub async fn insert_once(conn: &mut Conn, name: &str, first: &str) -> Result<String, StorageError> {
    query!(conn, |c| {
        let row = (key.eq(name), value.eq(first));
        diesel::insert_into(server_settings::table).values(row).on_conflict_do_nothing().execute(c).await?
    });
    found(lookup(conn, name).await?, "setting", name)
}

/// Keeps another value for a setting that there is.
pub async fn set(conn: &mut Conn, name: &str, another: &str) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = server_settings::table.find(name);
        diesel::update(one).set(value.eq(another)).execute(c).await?
    });
    hit(rows, "setting", name)
}
