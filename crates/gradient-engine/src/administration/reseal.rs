use gradient_auth::{Place, SealError, Sealer};
use gradient_domain::{CacheKeyId, OrganizationId};
use gradient_storage::{
    Conn,
    sealed::{self, Column},
};
use uuid::Uuid;

use super::Administration;
use crate::{EngineError, cache_keys::signing_key_place, organizations::ssh_key_place};

/// How many values one transaction seals again.
const PER_TRANSACTION: u16 = 100;

/// How many values were sealed again, and how many already were as they should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    /// SSH keys of organizations that were sealed again.
    pub ssh_keys: usize,
    /// Signing keys of caches that were sealed again.
    pub signing_keys: usize,
    /// Values that the newest secret had sealed before.
    pub current: usize,
}

/// What became of the values of one transaction.
#[derive(Debug, Clone, Copy, Default)]
struct Page {
    last: Option<Uuid>,
    renewed: usize,
    current: usize,
}

impl Administration {
    /// Seals every sealed value with the newest secret. When it fails, what came before stays sealed again, and another call
    /// goes on from there.
    pub async fn reseal(&self, sealer: &Sealer) -> Result<Resealed, EngineError> {
        let (ssh_keys, current_ssh_keys) = self.reseal_column(sealer, Column::SshKeys).await?;
        let (signing_keys, current_signing_keys) = self.reseal_column(sealer, Column::SigningKeys).await?;
        Ok(Resealed { ssh_keys, signing_keys, current: current_ssh_keys + current_signing_keys })
    }

    async fn reseal_column(&self, sealer: &Sealer, column: Column) -> Result<(usize, usize), EngineError> {
        let (mut after, mut renewed, mut current) = (Uuid::nil(), 0, 0);
        loop {
            let sealer = sealer.clone();
            let next = async move |conn: &mut Conn| reseal_page(conn, &sealer, column, after).await;
            let page = self.storage.try_transaction(next).await?;
            renewed += page.renewed;
            current += page.current;
            match page.last {
                Some(last) => after = last,
                None => return Ok((renewed, current)),
            }
        }
    }
}

async fn reseal_page(conn: &mut Conn, sealer: &Sealer, column: Column, after: Uuid) -> Result<Page, EngineError> {
    let mut page = Page::default();
    for (row, old) in sealed::list(conn, column, after, PER_TRANSACTION.into()).await? {
        page.last = Some(row);
        if sealer.is_current(&old) {
            page.current += 1;
            continue;
        }
        let new = seal_again(sealer, &old, place(column, row))
            .map_err(|error| EngineError::Damaged(format!("{} {row} stays as it is: {error}", described(column))))?;
        // Otherwise the running server replaced the key meanwhile, and sealed the new one itself.
        if sealed::replace(conn, column, row, &old, &new).await? {
            page.renewed += 1;
        }
    }
    Ok(page)
}

fn seal_again(sealer: &Sealer, old: &[u8], place: Place) -> Result<Vec<u8>, SealError> {
    sealer.seal(sealer.open(old, place)?.expose(), place, &mut rand::rng())
}

fn place(column: Column, row: Uuid) -> Place {
    match column {
        Column::SshKeys => ssh_key_place(OrganizationId::from_uuid(row)),
        Column::SigningKeys => signing_key_place(CacheKeyId::from_uuid(row)),
    }
}

fn described(column: Column) -> &'static str {
    match column {
        Column::SshKeys => "the SSH key of the organization",
        Column::SigningKeys => "the signing key",
    }
}
