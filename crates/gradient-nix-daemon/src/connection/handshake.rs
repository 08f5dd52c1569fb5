use super::{Peer, skip_events};
use crate::{
    Error,
    wire::{Reader, Writer},
};

pub(crate) const CLIENT_MAGIC: u64 = 0x6e69_7863;
pub(crate) const DAEMON_MAGIC: u64 = 0x6478_696f;

pub(crate) const MAJOR: u64 = 1;
const OLDEST_MINOR: u64 = 34;
/// The newest that this crate knows; a newer daemon steps down to it.
pub(crate) const NEWEST_MINOR: u64 = 38;

/// Agrees on a version, which is `newest` or older, and learns who answers.
pub(crate) async fn shake(reader: &mut Reader, writer: &mut Writer, newest: u64) -> Result<Peer, Error> {
    writer.number(CLIENT_MAGIC).number(MAJOR << 8 | newest).flush().await?;
    let magic = reader.number().await?;
    if magic != DAEMON_MAGIC {
        return Err(Error::NotADaemon(magic));
    }
    let version = reader.number().await?;
    let (major, minor) = (version >> 8, version & 0xff);
    if major != MAJOR || minor < OLDEST_MINOR {
        return Err(Error::Version { major, minor });
    }
    let minor = minor.min(newest);
    if minor >= 38 {
        // Of the optional features none is used; what the daemon has is of no interest then.
        writer.texts([""; 0].iter()).flush().await?;
        reader.texts().await?;
    }
    // No processor to be bound to, and no space to be kept free: both have had no meaning for long.
    writer.number(0).number(0).flush().await?;
    let nix_version = reader.text().await?;
    let trusted = if minor >= 35 { trust(reader.number().await?)? } else { None };
    skip_events(reader).await?;
    Ok(Peer { minor, nix_version, trusted })
}

fn trust(word: u64) -> Result<Option<bool>, Error> {
    match word {
        0 => Ok(None),
        1 => Ok(Some(true)),
        2 => Ok(Some(false)),
        _ => Err(Error::Malformed("whether it trusts")),
    }
}
