use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use gradient_domain::{CacheUrl, is_public_address};
use gradient_nix::StorePathHash;
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use thiserror::Error;

use super::UPSTREAM_HEADER;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);

/// The largest narinfo that is read. One of a path with ten thousand references has half of that.
const MAX_BYTES: usize = 1 << 20;

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
        if !local && cache.address().is_some_and(|address| !is_public_address(address)) {
            return Err(AskError::Private);
        }
        let request = self.http(local)?.get(format!("{cache}/{hash}.narinfo")).header(UPSTREAM_HEADER, "1");
        let mut response = request.send().await?;
        match response.status().as_u16() {
            200 => {}
            // Nix takes the first two so.
            403 | 404 | 410 => return Ok(None),
            other => return Err(AskError::Status(other)),
        }
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if text.len() + chunk.len() > MAX_BYTES {
                return Err(AskError::TooLarge);
            }
            text.extend_from_slice(&chunk);
        }
        Ok(Some(text))
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
            // A redirect could lead into this network.
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
