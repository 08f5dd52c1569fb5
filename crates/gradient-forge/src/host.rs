//! Which hosts may be asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gradient_domain::RepositoryUrl;

use crate::ForgeError;

/// The most addresses of one host that are used.
const MAX_ADDRESSES: usize = 8;

/// Where a repository's host is: the addresses that were looked at, and that git is held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) first: IpAddr,
    pub(crate) further: Vec<IpAddr>,
}

impl Host {
    /// Looks a repository's host up, and refuses it when any of its addresses is not public. `None` for a local repository.
    pub(crate) async fn find(repository: &RepositoryUrl, allow_local: bool) -> Result<Option<Self>, ForgeError> {
        let Some((name, port)) = repository.host().zip(repository.port()) else {
            return if allow_local { Ok(None) } else { Err(ForgeError::LocalRefused) };
        };
        let unknown = || ForgeError::Unreachable { words: format!("the host {name} has no address") };
        let mut addresses: Vec<IpAddr> =
            tokio::net::lookup_host((name, port)).await.map_err(|_| unknown())?.map(|address| address.ip()).collect();
        if let Some(address) = addresses.iter().find(|address| !allow_local && !is_public(**address)) {
            return Err(ForgeError::HostRefused { host: name.to_owned(), address: *address });
        }
        addresses.truncate(MAX_ADDRESSES);
        let mut addresses = addresses.into_iter();
        let first = addresses.next().ok_or_else(unknown)?;
        Ok(Some(Self { name: name.to_owned(), port, first, further: addresses.collect() }))
    }

    /// All addresses, as curl takes them.
    pub(crate) fn for_curl(&self) -> String {
        let addresses: Vec<String> = std::iter::once(&self.first).chain(&self.further).map(bracketed).collect();
        format!("{}:{}:{}", self.name, self.port, addresses.join(","))
    }

    /// Its name in a file of known hosts.
    pub(crate) fn known_as(&self) -> String {
        if self.port == 22 { self.name.clone() } else { format!("[{}]:{}", self.name, self.port) }
    }
}

/// An address as it is written in a URL.
pub(crate) fn bracketed(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// By IANA's registry of special-purpose addresses.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special
}

/// Only global unicast, and what contains an IPv4 address by that address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |at: usize| match address.octets()[at..] {
        [w, x, y, z, ..] => is_public_v4(Ipv4Addr::new(w, x, y, z)),
        _ => false,
    };
    match (segments[0], segments[1]) {
        (0x64, 0xff9b) => segments[2..6] == [0; 4] && embedded(12),
        (0, 0) => segments[2..5] == [0; 3] && matches!(segments[5], 0 | 0xffff) && embedded(12),
        (0x2002, _) => embedded(2),
        // Teredo and the other assignments for protocols, and documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        (first, _) => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for address in
            ["1.1.1.1", "140.82.121.4", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2a00:1450:4001::1", "64:ff9b::8c52:7904"]
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn curl_is_held_to_every_address() {
        let host = Host {
            name: "example.org".into(),
            port: 443,
            first: Ipv4Addr::new(1, 1, 1, 1).into(),
            further: vec![Ipv6Addr::LOCALHOST.into()],
        };
        assert_eq!(host.for_curl(), "example.org:443:1.1.1.1,[::1]");
    }
}
