//! Whose bucket a request takes from.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::{HttpMessage, dev::ServiceRequest, http::header};
use gradient_auth::Caller;
use gradient_domain::UserId;
use gradient_engine::Engine;

use super::Tier;
use crate::{cache_root::credential, scope::COOKIE};

/// Somebody who sends requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// Whoever sends from this address.
    Address(IpAddr),
    /// A user, in any session and with any API key: with a bucket for each key, who makes many keys could ask as often as they like.
    User(UserId),
}

/// The caller whom a request's credentials prove: left with the request, so that they are looked up once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownCaller(pub(crate) Caller);

impl Client {
    /// The client at an address. Of IPv6 the network counts: whoever has one address has all of its /64.
    pub(super) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        })
    }
}

/// The client whom the request's credentials prove. Bad ones prove nobody: who tries many is told by the address.
pub(super) async fn proven(request: &ServiceRequest, engine: &Engine, tier: Tier) -> Option<Client> {
    let mut credentials = request.headers().get_all(header::AUTHORIZATION);
    let token = match (credentials.next(), credentials.next()) {
        // With two of them a request proves nothing.
        (_, Some(_)) => return None,
        (Some(value), None) => credential(value.to_str().ok()?)?.into_inner(),
        (None, None) => request.cookie(COOKIE)?.value().to_owned(),
    };
    let caller = match tier {
        Tier::Cache | Tier::Inspect | Tier::Log => engine.reader(&token).await.ok()?.caller,
        _ => engine.caller(&token).await.ok()?,
    };
    request.extensions_mut().insert(KnownCaller(caller));
    match caller {
        Caller::Anonymous => None,
        Caller::User(user) => Some(Client::User(user.user)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_client() {
        let at = |text: &str| Client::at(text.parse().unwrap());
        assert_eq!(at("2001:db8:0:1::1"), at("2001:db8:0:1:ffff::2"));
        assert_ne!(at("2001:db8:0:1::1"), at("2001:db8:0:2::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }
}
