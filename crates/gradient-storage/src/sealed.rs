//! All values that are sealed with the server's crypt secret, to be sealed again with another one. Those of deleted
//! organizations and caches too, for they are there until they are removed.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{CacheKeyId, OrganizationId};
use uuid::Uuid;

use crate::{
    Conn, StorageError,
    conn::query,
    schema::{cache_keys, organizations},
};

/// A column of sealed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The private SSH keys of organizations.
    SshKeys,
    /// The signing keys of caches; of those that have one here.
    SigningKeys,
}

/// At most `limit` values with the keys of their rows, in the order of the keys: those after `after`.
pub async fn list(conn: &mut Conn, column: Column, after: Uuid, limit: i64) -> Result<Vec<(Uuid, Vec<u8>)>, StorageError> {
    Ok(match column {
        Column::SshKeys => {
            let after = OrganizationId::from_uuid(after);
            let rows: Vec<(OrganizationId, Vec<u8>)> = query!(conn, |c| {
                let next = organizations::table.filter(organizations::id.gt(after)).order(organizations::id).limit(limit);
                next.select((organizations::id, organizations::ssh_private_sealed)).load(c).await?
            });
            rows.into_iter().map(|(id, sealed)| (id.uuid(), sealed)).collect()
        }
        Column::SigningKeys => {
            let after = CacheKeyId::from_uuid(after);
            let rows: Vec<(CacheKeyId, Vec<u8>)> = query!(conn, |c| {
                let next = cache_keys::table.filter(cache_keys::id.gt(after)).filter(cache_keys::secret_key_sealed.is_not_null());
                let next = next.order(cache_keys::id).limit(limit);
                next.select((cache_keys::id, cache_keys::secret_key_sealed.assume_not_null())).load(c).await?
            });
            rows.into_iter().map(|(id, sealed)| (id.uuid(), sealed)).collect()
        }
    })
}

/// Replaces a value; whether `old` was still the one.
pub async fn replace(conn: &mut Conn, column: Column, row: Uuid, old: &[u8], new: &[u8]) -> Result<bool, StorageError> {
    let rows = match column {
        Column::SshKeys => query!(conn, |c| {
            let one = organizations::table.find(OrganizationId::from_uuid(row));
            let one = one.filter(organizations::ssh_private_sealed.eq(old));
            diesel::update(one).set(organizations::ssh_private_sealed.eq(new)).execute(c).await?
        }),
        Column::SigningKeys => query!(conn, |c| {
            let one = cache_keys::table.find(CacheKeyId::from_uuid(row)).filter(cache_keys::secret_key_sealed.eq(old));
            diesel::update(one).set(cache_keys::secret_key_sealed.eq(Some(new))).execute(c).await?
        }),
    };
    Ok(rows > 0)
}
