//! Where a binary cache is.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;
use url::{Host, Url};

/// The longest that is taken.
const MAX_BYTES: usize = 2_000;

/// The http or https URL of a binary cache: without credentials, query and fragment, and without a slash at its end.
///
/// ```
/// use gradient_domain::CacheUrl;
///
/// let url: CacheUrl = "https://Cache.Example.com/main/".parse()?;
/// assert_eq!(url.to_string(), "https://cache.example.com/main");
/// assert!("https://user:secret@cache.example.com".parse::<CacheUrl>().is_err());
/// # Ok::<(), gradient_domain::CacheUrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheUrl(Url);

/// Why a text is not the URL of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CacheUrlError {
    /// It is no URL of http or https, or too long.
    #[error("expected an http or https URL of at most {MAX_BYTES} bytes")]
    NotHttp,
    /// Whoever may see the cache would see them.
    #[error("a user name or password cannot be in it")]
    Credentials,
    /// A path cannot be put behind it.
    #[error("a query or fragment cannot be in it")]
    Query,
}

impl CacheUrl {
    /// The host, without port; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, also when it is the usual one.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// The host, when it is an address and no name.
    pub fn address(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }
}

impl FromStr for CacheUrl {
    type Err = CacheUrlError;

    fn from_str(text: &str) -> Result<Self, CacheUrlError> {
        let url = Url::parse(text).ok().filter(|_| text.len() <= MAX_BYTES).ok_or(CacheUrlError::NotHttp)?;
        if !matches!(url.scheme(), "http" | "https") {
            Err(CacheUrlError::NotHttp)
        } else if !url.username().is_empty() || url.password().is_some() {
            Err(CacheUrlError::Credentials)
        } else if url.query().is_some() || url.fragment().is_some() {
            Err(CacheUrlError::Query)
        } else {
            Ok(Self(url))
        }
    }
}

impl fmt::Display for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, CacheUrlError> {
        text.parse::<CacheUrl>().map(|url| url.to_string())
    }

    #[test]
    fn one_place_has_one_text() {
        for text in ["https://cache.example.com", "HTTPS://CACHE.example.com:443/", " https://cache.example.com//"] {
            assert_eq!(parse(text).as_deref(), Ok("https://cache.example.com"), "{text}");
        }
        assert_eq!(parse("http://127.1:8080/cache/x/").as_deref(), Ok("http://127.0.0.1:8080/cache/x"));
    }

    #[test]
    fn what_is_no_cache_is_refused() {
        for text in ["", "cache.example.com", "ftp://cache.example.com", "file:///nix", "ssh://host", "https://", "http://[x]"] {
            assert_eq!(parse(text), Err(CacheUrlError::NotHttp), "{text}");
        }
        assert_eq!(parse(&format!("https://a.example/{}", "x".repeat(2_000))), Err(CacheUrlError::NotHttp));
        assert_eq!(parse("https://u@cache.example.com"), Err(CacheUrlError::Credentials));
        assert_eq!(parse("https://:p@cache.example.com"), Err(CacheUrlError::Credentials));
        assert_eq!(parse("https://cache.example.com?priority=1"), Err(CacheUrlError::Query));
        assert_eq!(parse("https://cache.example.com/#x"), Err(CacheUrlError::Query));
    }

    #[test]
    fn an_address_is_known_however_it_is_written() {
        for text in ["http://127.0.0.1:1", "http://0x7f.1", "http://2130706433", "http://[::1]/x"] {
            let url: CacheUrl = text.parse().unwrap();
            assert!(url.address().is_some_and(|address| address.is_loopback()), "{text}");
        }
        let url: CacheUrl = "https://[2001:db8::1]:444".parse().unwrap();
        assert_eq!((url.host(), url.port()), ("2001:db8::1", 444));
        assert_eq!("https://cache.example.com".parse::<CacheUrl>().unwrap().address(), None);
    }
}
