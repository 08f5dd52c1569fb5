//! The token buckets of one tier.

use std::{fmt, sync::Arc, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use moka::{policy::EvictionPolicy, sync::Cache};

use super::{Client, RateLimit};

/// How many clients a tier remembers. Beyond that the one that was away for longest has a full bucket again.
const MAX_CLIENTS: u64 = 50_000;

/// How long a client is remembered at most, however slowly its bucket fills.
const MAX_IDLE: Duration = Duration::from_hours(24 * 30);

/// A bucket for each client; one that is full again is forgotten.
pub(super) struct Buckets {
    quota: Quota,
    clients: Cache<Client, Arc<DefaultDirectRateLimiter>>,
}

impl Buckets {
    /// `None` for a tier without a limit.
    pub(super) fn new(limit: Option<RateLimit>) -> Option<Self> {
        let quota = limit?.quota()?;
        let clients = Cache::builder()
            .max_capacity(MAX_CLIENTS)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(quota.burst_size_replenished_in().min(MAX_IDLE))
            .build();
        Some(Self { quota, clients })
    }

    /// Takes a token; an error says when there will be one.
    pub(super) fn take(&self, client: Client) -> Result<(), Duration> {
        let bucket = self.clients.get_with(client, || Arc::new(RateLimiter::direct(self.quota)));
        bucket.check().map_err(|empty| empty.wait_time_from(DefaultClock::default().now()))
    }
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").field("quota", &self.quota).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn client(number: u32) -> Client {
        Client::at(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn each_client_has_a_bucket() {
        let buckets = Buckets::new(Some("1/3600:2".parse().unwrap())).unwrap();
        assert_eq!(buckets.take(client(1)), Ok(()));
        assert_eq!(buckets.take(client(1)), Ok(()));
        let wait = buckets.take(client(1)).unwrap_err();
        assert!(wait > Duration::from_mins(59) && wait <= Duration::from_hours(1), "{wait:?}");
        assert_eq!(buckets.take(client(2)), Ok(()));
    }

    #[test]
    fn the_clients_are_bounded() {
        let buckets = Buckets::new(Some("1/3600:1".parse().unwrap())).unwrap();
        for number in 0..60_000 {
            assert_eq!(buckets.take(client(number)), Ok(()));
        }
        assert!(buckets.take(client(59_999)).is_err(), "a new client is remembered, whatever there was before");
        buckets.clients.run_pending_tasks();
        assert!(buckets.clients.entry_count() <= MAX_CLIENTS, "{}", buckets.clients.entry_count());
    }
}
