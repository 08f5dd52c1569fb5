//! How much is too much.

use std::{num::NonZeroU32, str::FromStr, time::Duration};

use governor::Quota;
use thiserror::Error;

/// More requests than this in a period is no limit worth the name.
const MAX_REQUESTS: u32 = 1_000_000;
/// The longest period.
const MAX_SECONDS: u32 = 24 * 60 * 60;

/// How often a client may ask: at most a burst at once, and a new request after each interval.
///
/// ```
/// use gradient_api::RateLimit;
///
/// let limit: RateLimit = "1/6:5".parse()?;
/// assert_eq!(limit, "10/60:5".parse()?);
/// assert_eq!("60/60".parse::<RateLimit>()?, "60/60:60".parse()?);
/// assert!("0/60".parse::<RateLimit>().is_err());
/// # Ok::<(), gradient_api::RateLimitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    interval: Duration,
    burst: NonZeroU32,
}

/// Why something is no rate limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no rate limit: expected <requests>/<seconds>, with :<burst> perhaps, such as 1/6:5, or off")]
pub struct RateLimitError(String);

/// The limits of all tiers of routes; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Login, registration and what else is below `/api/v1/auth`, but logout; and, for each user, what their own password confirms.
    pub auth: Option<RateLimit>,
    /// The binary cache, but for what has a tier of its own. Off by default: Nix waits for minutes after a 429.
    pub cache: Option<RateLimit>,
    /// `/cache/{cache}/ls`, the same at `/cache/{cache}/{hash}.ls`, and `/cache/{cache}/serve`.
    pub inspect: Option<RateLimit>,
    /// `/cache/{cache}/log`.
    pub log: Option<RateLimit>,
    /// The rest.
    pub default: Option<RateLimit>,
}

impl RateLimit {
    pub(super) fn quota(self) -> Option<Quota> {
        Some(Quota::with_period(self.interval)?.allow_burst(self.burst))
    }

    const fn new(interval: Duration, burst: NonZeroU32) -> Self {
        Self { interval, burst }
    }
}

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| RateLimitError(text.chars().take(50).collect()))
    }
}

fn parse(text: &str) -> Option<RateLimit> {
    let (requests, rest) = text.split_once('/')?;
    let (seconds, burst) = rest.split_once(':').map_or((rest, requests), |(seconds, burst)| (seconds, burst));
    let number = |text: &str, most: u32| text.parse().ok().filter(|number: &NonZeroU32| number.get() <= most);
    let (requests, burst) = (number(requests, MAX_REQUESTS)?, number(burst, MAX_REQUESTS)?);
    let period = Duration::from_secs(number(seconds, MAX_SECONDS)?.get().into());
    Some(RateLimit::new(period / requests.get(), burst))
}

impl RateLimits {
    /// No limits at all.
    pub const OFF: Self = Self { auth: None, cache: None, inspect: None, log: None, default: None };
}

impl Default for RateLimits {
    fn default() -> Self {
        const AUTH: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
        const INSPECT: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);
        const LOG: NonZeroU32 = NonZeroU32::MIN.saturating_add(299);
        const DEFAULT: NonZeroU32 = NonZeroU32::MIN.saturating_add(149);
        Self {
            auth: Some(RateLimit::new(Duration::from_secs(6), AUTH)),
            cache: None,
            inspect: Some(RateLimit::new(Duration::from_secs(1), INSPECT)),
            log: Some(RateLimit::new(Duration::from_millis(200), LOG)),
            default: Some(RateLimit::new(Duration::from_millis(200), DEFAULT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_written() {
        let written = |text: &str| Some(text.parse().unwrap());
        let expected = RateLimits {
            auth: written("1/6:5"),
            cache: None,
            inspect: written("60/60"),
            log: written("300/60"),
            default: written("5/1:150"),
        };
        assert_eq!(RateLimits::default(), expected);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "off", "5", "5/", "/5", "0/5", "5/0", "5/5:0", "5/5:", "-1/5", "5/5:5:5", "1000001/1", "1/86401"] {
            assert!(text.parse::<RateLimit>().is_err(), "{text}");
        }
        assert!("1000000/1".parse::<RateLimit>().unwrap().quota().is_some(), "the fastest has an interval");
    }
}
