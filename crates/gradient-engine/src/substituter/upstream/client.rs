use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use gradient_domain::{CacheUrl, is_public_address};
use gradient_nix::StorePathHash;
use reqwest::{
    Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header, redirect,
};
use thiserror::Error;

use super::UPSTREAM_HEADER;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);

/// The largest narinfo that is read. One of a path with ten thousand references has half of that.
const MAX_BYTES: usize = 1 << 20;

/// How often a NAR may be somewhere else than where it was said to be: caches send clients to their buckets.
const MAX_REDIRECTS: usize = 3;

/// Asks caches elsewhere. Made when it is first needed, as that reads the certificates of this machine.
#[derive(Debug, Default)]
pub(super) struct Client {
    public: OnceLock<reqwest::Client>,
    anywhere: OnceLock<reqwest::Client>,
}

/// Why a cache elsewhere has not answered.
#[derive(Debug, Error)]
pub(super) enum AskError {
    /// It cannot be reached, or breaks off.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// It is on this machine or in a private network.
    #[error("its address is not public")]
    Private,
    /// Where it is said to be, nothing can be asked.
    #[error("an address that is none of http or https")]
    Url,
    /// It is always somewhere else.
    #[error("more than {MAX_REDIRECTS} redirects")]
    Redirects,
    /// It says neither that the path is there nor that it is not.
    #[error("the status {0}")]
    Status(u16),
    /// What it sends is no narinfo.
    #[error("an answer of more than {MAX_BYTES} bytes")]
    TooLarge,
}

impl Client {
    /// The text of a path's narinfo, or that the cache has none.
    pub(super) async fn ask(&self, cache: &CacheUrl, hash: StorePathHash, local: bool) -> Result<Option<Vec<u8>>, AskError> {
        let url = Url::parse(&format!("{cache}/{hash}.narinfo")).map_err(|_| AskError::Url)?;
        let Some(mut response) = there(self.get(url, local).await?)? else { return Ok(None) };
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if text.len() + chunk.len() > MAX_BYTES {
                return Err(AskError::TooLarge);
            }
            text.extend_from_slice(&chunk);
        }
        Ok(Some(text))
    }

    /// The NAR at an address that a cache has named, or that there is none. It may be somewhere else again.
    pub(super) async fn open_nar(&self, url: &str, local: bool) -> Result<Option<Response>, AskError> {
        let mut url = Url::parse(url).map_err(|_| AskError::Url)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.get(url.clone(), local).await?;
            if !response.status().is_redirection() {
                return there(response);
            }
            let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            url = location.and_then(|location| url.join(location).ok()).ok_or(AskError::Url)?;
        }
        Err(AskError::Redirects)
    }

    async fn get(&self, url: Url, local: bool) -> Result<Response, AskError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AskError::Url);
        }
        // Names are looked at when they are looked up.
        let address = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if !local && address.is_some_and(|address| !is_public_address(address)) {
            return Err(AskError::Private);
        }
        Ok(self.http(local)?.get(url).header(UPSTREAM_HEADER, "1").send().await?)
    }

    fn http(&self, local: bool) -> Result<&reqwest::Client, AskError> {
        let made = if local { &self.anywhere } else { &self.public };
        if let Some(client) = made.get() {
            return Ok(client);
        }
        // Fails only when the program has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            // A redirect could lead into this network, so each is looked at.
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .user_agent(concat!("gradient/", env!("CARGO_PKG_VERSION")));
        let client = if local { client } else { client.dns_resolver(PublicOnly) };
        Ok(made.get_or_init({
            let client = client.build()?;
            || client
        }))
    }
}

/// The answer, when it has something.
fn there(response: Response) -> Result<Option<Response>, AskError> {
    match response.status().as_u16() {
        200 => Ok(Some(response)),
        // Nix takes the first two so.
        403 | 404 | 410 => Ok(None),
        other => Err(AskError::Status(other)),
    }
}

/// Looks hosts up, and refuses those of which any address is not public.
#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if addresses.iter().any(|address| !is_public_address(address.ip())) {
                return Err(AskError::Private.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
