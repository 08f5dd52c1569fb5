//! How long a client may make the server wait while bytes move between the two: it is spent by waiting and earned by bytes, so that
//! whoever is too slow for long runs out of it.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

/// How fast a client has to be in the long run, in bytes per second, where it holds what others wait for.
const SPEED: u32 = 64 << 10;

/// How long a reader may make the server wait at a time.
const MAX_READING_PAUSE: Duration = Duration::from_secs(30);

/// What is left of it.
#[derive(Debug)]
pub(crate) struct Patience {
    left: Duration,
    most: Duration,
}

impl Patience {
    /// As much as there can be.
    pub(crate) const fn new(most: Duration) -> Self {
        Self { left: most, most }
    }

    /// How long the client may still make the server wait; nothing when it is too slow.
    pub(crate) const fn left(&self) -> Duration {
        self.left
    }

    /// The client made the server wait for so long.
    pub(crate) const fn spend(&mut self, waited: Duration) {
        self.left = self.left.saturating_sub(waited);
    }

    /// So many bytes went over.
    pub(crate) fn earn(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1).saturating_mul(bytes) / SPEED;
        self.left = self.left.saturating_add(earned).min(self.most);
    }
}

/// The stream, which breaks off when whoever reads it is too slow. The time between two pieces is the reader's.
pub(crate) fn while_read_fast_enough<E>(pieces: Pieces<E>) -> BoxStream<'static, io::Result<Bytes>>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let reading = Reading { pieces, patience: Patience::new(MAX_READING_PAUSE), given: Instant::now() };
    stream::unfold(Some(reading), next).boxed()
}

type Pieces<E> = BoxStream<'static, Result<Bytes, E>>;

struct Reading<E> {
    pieces: Pieces<E>,
    patience: Patience,
    /// When the last piece was.
    given: Instant,
}

/// The next piece; nothing comes after an error.
async fn next<E>(reading: Option<Reading<E>>) -> Option<(io::Result<Bytes>, Option<Reading<E>>)>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let mut reading = reading?;
    reading.patience.spend(reading.given.elapsed());
    if reading.patience.left().is_zero() {
        return Some((Err(io::ErrorKind::TimedOut.into()), None));
    }
    match reading.pieces.next().await? {
        Ok(piece) => {
            reading.patience.earn(piece.len());
            reading.given = Instant::now();
            Some((Ok(piece), Some(reading)))
        }
        Err(error) => Some((Err(io::Error::other(error)), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_is_fast_enough_has_it_for_ever() {
        let mut patience = Patience::new(30 * SECOND);
        for _ in 0..1000 {
            patience.spend(SECOND);
            assert!(!patience.left().is_zero());
            patience.earn(64 << 10);
        }
        assert_eq!(patience.left(), 30 * SECOND);
    }

    #[test]
    fn who_is_too_slow_runs_out_of_it() {
        let mut patience = Patience::new(30 * SECOND);
        let mut waited = 0;
        loop {
            patience.spend(SECOND);
            waited += 1;
            if patience.left().is_zero() {
                break;
            }
            patience.earn(32 << 10);
            assert!(waited < 60, "{patience:?}");
        }
        assert!(waited >= 30, "a while it may be slow");
    }

    #[test]
    fn it_is_not_saved_up() {
        let mut patience = Patience::new(30 * SECOND);
        patience.earn(usize::MAX);
        patience.spend(31 * SECOND);
        assert_eq!(patience.left(), Duration::ZERO);
    }
}
