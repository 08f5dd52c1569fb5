//! Signing in at an OpenID provider: the authorization code flow with PKCE. Who sends the requests is the caller's business.
//!
//! Somebody is known by the provider and its `sub`, and by nothing else: an address can be changed, and given to another one.

mod attempt;
mod error;
mod provider;
mod username;

use gradient_domain::{Email, Moment, Secret};
use openidconnect::url::Url;

pub use attempt::SignInAttempt;
pub use error::OidcError;
pub use openidconnect::{AsyncHttpClient, HttpRequest, http, url};
pub use provider::OidcProvider;
pub use username::usernames;

/// Where the provider describes itself, below its issuer.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// What is known of a provider before it is asked.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The issuer, without a slash at the end.
    issuer: String,
    /// Who this server is there.
    pub client_id: String,
    /// What proves it; without one the provider only knows who asks by PKCE.
    pub client_secret: Option<Secret<String>>,
    /// What is asked for, besides `openid`.
    pub scopes: Vec<String>,
}

impl OidcSettings {
    /// The provider at `url`: its issuer, or the URL of its discovery document. What is wrong with the URL otherwise: it has to be
    /// https, or on this machine.
    pub fn new(
        url: &str,
        client_id: String,
        client_secret: Option<Secret<String>>,
        scopes: Vec<String>,
    ) -> Result<Self, &'static str> {
        let issuer = url.strip_suffix(DISCOVERY).unwrap_or(url).trim_end_matches('/');
        let parsed = Url::parse(issuer).map_err(|_| "expected a URL such as https://id.example.com")?;
        if !is_confidential(&parsed) {
            return Err("expected https://, for whoever can change what the provider says can be anybody");
        }
        Ok(Self { issuer: issuer.to_owned(), client_id, client_secret, scopes })
    }

    fn discovery_url(&self) -> String {
        format!("{}{DISCOVERY}", self.issuer)
    }
}

/// Whether nobody on the way can read or change what is sent to this URL.
pub fn is_confidential(url: &Url) -> bool {
    use openidconnect::url::Host;
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || url.scheme() == "http" && is_here
}

/// What came back from the provider with the browser.
#[derive(Debug)]
pub struct ProviderAnswer {
    /// Which attempt it answers.
    pub state: String,
    /// The code to redeem, or the provider's word for why there is none.
    pub outcome: Result<Secret<String>, String>,
}

impl ProviderAnswer {
    /// The code, if there is one.
    pub fn code(self) -> Result<Secret<String>, OidcError> {
        self.outcome.map_err(|why| OidcError::Refused(provider::word(&why)))
    }
}

/// Somebody whom the provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcIdentity {
    /// The provider, `iss`.
    pub issuer: String,
    /// Who it is there, `sub`.
    pub subject: String,
    /// The address there.
    pub email: Option<Email>,
    /// Whether the provider has seen a proof of it.
    pub email_verified: bool,
    /// The login name there; any text.
    pub username: Option<String>,
    /// The name to read there; any text.
    pub name: Option<String>,
}

/// The time as the library counts it.
fn date_time(now: Moment) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp_micros(now.micros()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Result<String, &'static str> {
        OidcSettings::new(url, "gradient".to_owned(), None, Vec::new()).map(|settings| settings.discovery_url())
    }

    #[test]
    fn the_issuer_and_its_discovery_document_name_the_same_provider() {
        let document = "https://id.example.com/realms/a/.well-known/openid-configuration";
        for url in [document, "https://id.example.com/realms/a", "https://id.example.com/realms/a/"] {
            assert_eq!(settings(url).unwrap(), document, "{url}");
        }
        assert!(settings("http://127.0.0.1:9000").is_ok() && settings("http://localhost/").is_ok());
        assert!(settings("http://[::1]:9000").is_ok());
        for url in ["", "id.example.com", "http://id.example.com", "http://127.0.0.1.example.com", "ftp://id.example.com"] {
            assert!(settings(url).is_err(), "{url}");
        }
    }
}
