//! Something scarce that many want: there is so much of it in all, and each may hold only so much of that.
//!
//! Whoever holds all that it may waits for itself, and keeps nothing from others. Nobody who neither holds nor waits for something
//! is remembered.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// How much there is, and who holds what of it. Clones share it.
#[derive(Debug, Clone)]
pub struct Shares<K: Eq + Hash>(Arc<Inner<K>>);

#[derive(Debug)]
struct Inner<K> {
    all: Arc<Semaphore>,
    each: usize,
    holders: Mutex<HashMap<K, Holder>>,
}

#[derive(Debug)]
struct Holder {
    own: Arc<Semaphore>,
    /// What it holds or waits for, counted.
    claims: usize,
}

/// A part of what there is; given back when it is dropped.
#[derive(Debug)]
pub struct Share<K: Eq + Hash> {
    of_own: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
    // The last one: the holder is forgotten once it has given back.
    claim: Claim<K>,
}

/// There is no more of it, for this holder or for anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("as much of it is taken as there is")]
pub struct Exhausted;

/// Somebody who holds something, or waits for it.
#[derive(Debug)]
struct Claim<K: Eq + Hash> {
    shares: Arc<Inner<K>>,
    own: Arc<Semaphore>,
    key: K,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// So much in all, and so much of it for each.
    pub fn new(all: usize, each: usize) -> Self {
        let [all, each] = [all, each].map(|amount| amount.min(Semaphore::MAX_PERMITS));
        Self(Arc::new(Inner { all: Arc::new(Semaphore::new(all)), each, holders: Mutex::default() }))
    }

    /// One of it, for which there may be a wait: for one's own share first, without being in anybody's way.
    pub async fn take(&self, key: K, wait: Duration) -> Result<Share<K>, Exhausted> {
        let claim = self.claim(key);
        let take = async {
            let of_own = Arc::clone(&claim.own).acquire_owned().await?;
            Ok::<_, AcquireError>((of_own, Arc::clone(&self.0.all).acquire_owned().await?))
        };
        match tokio::time::timeout(wait, take).await {
            Ok(Ok((of_own, of_all))) => Ok(Share { of_own, of_all, claim }),
            Ok(Err(_)) | Err(_) => Err(Exhausted),
        }
    }

    /// So much of it, without a wait.
    pub fn try_take(&self, key: K, amount: usize) -> Result<Share<K>, Exhausted> {
        let claim = self.claim(key);
        let (of_own, of_all) = claim.try_take(amount)?;
        Ok(Share { of_own, of_all, claim })
    }

    fn claim(&self, key: K) -> Claim<K> {
        let mut holders = self.0.holders();
        let new = || Holder { own: Arc::new(Semaphore::new(self.0.each)), claims: 0 };
        let holder = holders.entry(key.clone()).or_insert_with(new);
        holder.claims += 1;
        Claim { shares: Arc::clone(&self.0), own: Arc::clone(&holder.own), key }
    }
}

impl<K: Eq + Hash> Share<K> {
    /// Makes it larger, without a wait.
    pub fn grow(&mut self, more: usize) -> Result<(), Exhausted> {
        let (of_own, of_all) = self.claim.try_take(more)?;
        self.of_own.merge(of_own);
        self.of_all.merge(of_all);
        Ok(())
    }

    /// How much it is.
    pub fn amount(&self) -> usize {
        self.of_all.num_permits()
    }
}

impl<K: Eq + Hash> Claim<K> {
    fn try_take(&self, amount: usize) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Exhausted> {
        let amount = u32::try_from(amount).map_err(|_| Exhausted)?;
        let of = |semaphore: &Arc<Semaphore>| Arc::clone(semaphore).try_acquire_many_owned(amount).map_err(|_| Exhausted);
        Ok((of(&self.own)?, of(&self.shares.all)?))
    }
}

impl<K: Eq + Hash> Drop for Claim<K> {
    fn drop(&mut self) {
        let mut holders = self.shares.holders();
        if let Some(holder) = holders.get_mut(&self.key) {
            holder.claims -= 1;
            if holder.claims == 0 {
                holders.remove(&self.key);
            }
        }
    }
}

impl<K> Inner<K> {
    fn holders(&self) -> MutexGuard<'_, HashMap<K, Holder>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for what comes at all.
    const WAIT: Duration = Duration::from_secs(30);
    /// For what does not come.
    const NO_WAIT: Duration = Duration::ZERO;

    #[tokio::test]
    async fn who_holds_all_its_own_keeps_nothing_from_others() {
        let shares = Shares::new(3, 2);
        let (first, _second) = (shares.take("a", WAIT).await.unwrap(), shares.take("a", WAIT).await.unwrap());
        assert_eq!(shares.take("a", NO_WAIT).await.unwrap_err(), Exhausted);
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let shares = shares.clone();
                tokio::spawn(async move { shares.take("a", WAIT).await.map(drop) })
            })
            .collect();
        let _of_b = shares.take("b", WAIT).await.unwrap();
        assert_eq!(shares.take("c", NO_WAIT).await.unwrap_err(), Exhausted, "there is none left");
        drop(first);
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap(), Ok(()));
        }
        shares.take("c", WAIT).await.unwrap();
    }

    #[tokio::test]
    async fn who_has_nothing_is_forgotten() {
        let shares = Shares::new(2, 1);
        let share = shares.take(1, WAIT).await.unwrap();
        assert_eq!(shares.take(1, NO_WAIT).await.unwrap_err(), Exhausted);
        assert_eq!(shares.try_take(2, 2).unwrap_err(), Exhausted);
        let abandoned = tokio::spawn({
            let shares = shares.clone();
            async move { shares.take(1, WAIT).await.map(drop) }
        });
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        assert_eq!(shares.0.holders().keys().copied().collect::<Vec<_>>(), [1]);
        drop(share);
        assert!(shares.0.holders().is_empty());
        shares.take(1, WAIT).await.unwrap();
    }

    #[test]
    fn a_share_grows_within_its_bounds() {
        let shares = Shares::new(10, 6);
        let mut share = shares.try_take("a", 2).unwrap();
        share.grow(3).unwrap();
        assert_eq!(share.amount(), 5);
        assert_eq!(share.grow(2), Err(Exhausted), "more than each may hold");
        let mut other = shares.try_take("b", 5).unwrap();
        assert_eq!(other.grow(1), Err(Exhausted), "more than there is");
        assert_eq!((share.amount(), other.amount()), (5, 5), "what cannot be had changes nothing");
        drop(share);
        other.grow(1).unwrap();
    }
}
