//! Which hosts may be asked.

use std::net::IpAddr;

use gradient_domain::{RepositoryUrl, is_public_address};

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
        if let Some(address) = addresses.iter().find(|address| !allow_local && !is_public_address(**address)) {
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

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
