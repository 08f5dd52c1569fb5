//! Whose word about the client's address counts.

use std::{
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::HttpRequest;
use thiserror::Error;

/// Where proxies say for whom they ask, the last one at the end.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The reverse proxies whose `X-Forwarded-For` is believed.
///
/// ```
/// use gradient_api::TrustedProxies;
///
/// let proxies: TrustedProxies = "127.0.0.1, 10.0.0.0/8, 2001:db8::/32".parse()?;
/// assert!("10.0.0.0/33".parse::<TrustedProxies>().is_err());
/// # Ok::<(), gradient_api::TrustedProxiesError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    warned: Arc<AtomicBool>,
}

/// Why something is no list of proxies.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is neither an address nor a network, such as 127.0.0.1 or 10.0.0.0/8")]
pub struct TrustedProxiesError(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl TrustedProxies {
    /// Whom a request comes from: the nearest address that is no trusted proxy.
    pub(super) fn client_address(&self, request: &HttpRequest) -> IpAddr {
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
        let forwarded = request.headers().get_all(FORWARDED_FOR).map(|value| value.to_str().unwrap_or_default());
        if self.trusts(peer) {
            return self.nearest(peer, &forwarded.collect::<Vec<_>>());
        }
        let named = ["forwarded", FORWARDED_FOR, "x-real-ip"].iter().any(|name| request.headers().contains_key(*name));
        if named && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(%peer, "a forwarded request from a proxy that is not trusted: all its clients count as one");
        }
        peer
    }

    /// From the last hop backwards, as far as there is somebody to believe.
    fn nearest(&self, peer: IpAddr, forwarded: &[&str]) -> IpAddr {
        let mut nearest = peer;
        for hop in forwarded.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            nearest = address.to_canonical();
            if !self.trusts(nearest) {
                break;
            }
        }
        nearest
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

impl FromStr for TrustedProxies {
    type Err = TrustedProxiesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let network = |entry: &str| Network::parse(entry).ok_or_else(|| TrustedProxiesError(entry.to_owned()));
        Ok(Self { networks: entries.map(network).collect::<Result<_, _>>()?, warned: Arc::default() })
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(bits), |prefix| prefix.parse().ok())?;
        (prefix <= bits).then_some(Self { address, prefix })
    }

    fn contains(self, other: IpAddr) -> bool {
        // A shift by all bits is what the empty prefix is.
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn client(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let proxies: TrustedProxies = proxies.parse().unwrap();
        let peer: IpAddr = peer.parse().unwrap();
        let request = TestRequest::get().peer_addr((peer, 4711).into());
        let request = forwarded.iter().fold(request, |request, line| request.append_header((FORWARDED_FOR, *line)));
        proxies.client_address(&request.to_http_request()).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("", "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client("192.0.2.2", "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client("192.0.2.0/24", "192.0.2.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("192.0.2.0/24", "::ffff:192.0.2.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("192.0.2.0/24", "192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(client("0.0.0.0/0,::/0", "192.0.2.1", &["2001:db8::1"]), "2001:db8::1");
    }

    #[test]
    fn what_a_client_wrote_before_is_not_believed() {
        let proxies = "192.0.2.0/24";
        assert_eq!(client(proxies, "192.0.2.1", &["198.51.100.7, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(proxies, "192.0.2.1", &["198.51.100.7", "203.0.113.9, 192.0.2.2"]), "203.0.113.9");
        assert_eq!(client(proxies, "192.0.2.1", &["198.51.100.7, unknown"]), "192.0.2.1");
        assert_eq!(client(proxies, "192.0.2.1", &["198.51.100.7, nobody, 192.0.2.3"]), "192.0.2.3");
    }

    #[test]
    fn a_list_of_nonsense_is_refused() {
        for text in ["localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "1.2.3.4 5.6.7.8"] {
            assert!(text.parse::<TrustedProxies>().is_err(), "{text}");
        }
    }
}
