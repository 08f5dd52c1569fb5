//! NARs that are fetched from a cache elsewhere. What the server says of them is what that cache has signed, and is believed only
//! with its signature; whether the bytes are those is for Nix's daemon, which compares their hash.

use std::{fmt::Write as _, io, net::SocketAddr, sync::OnceLock, time::Duration};

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, XzDecoder, ZstdDecoder};
use futures_util::TryStreamExt as _;
use gradient_domain::is_public_address;
use gradient_nix::{PublicKey, StorePath};
use gradient_protocol::{InputPath, UpstreamNar};
use reqwest::{
    Client, Response, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header, redirect,
};
use tokio::io::{AsyncBufRead, AsyncRead};
use tokio_util::io::StreamReader;

use super::{JobTransfer, Retries, STALL, TransferError, chain, is_passing};

/// How often a NAR may be somewhere else than where it was said to be: caches send clients to their buckets.
const MAX_REDIRECTS: usize = 3;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(20);

/// The memory that xz may ask for in bytes: its strongest level takes 65 MiB.
const MAX_XZ_MEMORY: u64 = 80 << 20;

/// A NAR as it comes.
type Nar = Box<dyn AsyncRead + Send + Unpin>;

/// Asks caches elsewhere; without the session's token. Made when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    public: OnceLock<Client>,
    anywhere: OnceLock<Client>,
}

/// Why one try did not succeed.
enum Trouble {
    /// It may be there in a while.
    Passing(String),
    /// It will not.
    Lasting(String),
}

impl JobTransfer {
    /// The NAR of an input out of its upstream, decompressed.
    pub(crate) async fn get_upstream(&self, input: &InputPath, nar: &UpstreamNar) -> Result<Nar, TransferError> {
        let wrong = |reason: String| TransferError::Upstream { path: input.path.clone(), reason, is_lasting: true };
        let key: PublicKey = nar.public_key.parse().map_err(|error| wrong(format!("the key of its cache is none: {error}")))?;
        if !key.verifies(&fingerprint(input), &nar.signature) {
            return Err(wrong(format!("it is not signed by {}", key.name())));
        }
        let mut retries = Retries::new();
        loop {
            match self.transfer.upstreams.open(nar).await {
                Ok(response) => {
                    let body = response.bytes_stream().map_err(|error| io::Error::other(chain(&error)));
                    return decompressed(StreamReader::new(Box::pin(body)), &nar.compression)
                        .ok_or_else(|| wrong(format!("it is compressed with {}, which is not known here", nar.compression)));
                }
                Err(Trouble::Lasting(reason)) => return Err(wrong(reason)),
                Err(Trouble::Passing(reason)) => {
                    let wait = retries.wait(&input.path.to_string(), reason).await;
                    wait.map_err(|error| given_up(&input.path, &error))?;
                }
            }
        }
    }
}

fn given_up(path: &StorePath, error: &TransferError) -> TransferError {
    let reason = match error {
        TransferError::Unreachable(reason) => reason.clone(),
        error => error.to_string(),
    };
    TransferError::Upstream { path: path.clone(), reason, is_lasting: false }
}

/// What caches sign of a path.
fn fingerprint(input: &InputPath) -> String {
    let InputPath { path, nar_hash, nar_size, .. } = input;
    let mut text = format!("1;{};{nar_hash};{nar_size};", path.to_absolute());
    let mut references: Vec<String> = input.references.iter().map(StorePath::to_absolute).collect();
    references.sort_unstable();
    references.dedup();
    let _ = write!(text, "{}", references.join(","));
    text
}

fn decompressed(body: impl AsyncBufRead + Send + Unpin + 'static, compression: &str) -> Option<Nar> {
    Some(match compression {
        "none" => Box::new(body),
        "xz" => {
            let mut decoder = XzDecoder::with_mem_limit(body, MAX_XZ_MEMORY);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        "bzip2" => {
            let mut decoder = BzDecoder::new(body);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        "gzip" => {
            let mut decoder = GzipDecoder::new(body);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        "zstd" => {
            let mut decoder = ZstdDecoder::new(body);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        _ => return None,
    })
}

impl Upstreams {
    /// Begins to fetch. Each place that the cache sends us to is looked at before.
    async fn open(&self, nar: &UpstreamNar) -> Result<Response, Trouble> {
        let mut url = Url::parse(&nar.url).map_err(|error| Trouble::Lasting(error.to_string()))?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.get(url.clone(), nar.local).await?;
            let status = response.status();
            if status == StatusCode::OK {
                return Ok(response);
            }
            if !status.is_redirection() {
                let reason = format!("{} answers {status}", url.host_str().unwrap_or_default());
                return Err(if is_passing(status) { Trouble::Passing(reason) } else { Trouble::Lasting(reason) });
            }
            let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            url = next.ok_or_else(|| Trouble::Lasting("it is said to be nowhere".to_owned()))?;
        }
        Err(Trouble::Lasting(format!("more than {MAX_REDIRECTS} redirects")))
    }

    async fn get(&self, url: Url, local: bool) -> Result<Response, Trouble> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Trouble::Lasting("an address that is none of http or https".to_owned()));
        }
        // Names are looked at when they are looked up.
        let address = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if !local && address.is_some_and(|address| !is_public_address(address)) {
            return Err(Trouble::Lasting("its address is not public".to_owned()));
        }
        let client = self.client(local).map_err(|error| Trouble::Passing(chain(&error)))?;
        client.get(url).send().await.map_err(|error| Trouble::Passing(chain(&error)))
    }

    fn client(&self, local: bool) -> Result<&Client, reqwest::Error> {
        let made = if local { &self.anywhere } else { &self.public };
        if let Some(client) = made.get() {
            return Ok(client);
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(STALL)
            .user_agent(concat!("gradient-worker/", env!("CARGO_PKG_VERSION")));
        let client = if local { client } else { client.dns_resolver(PublicOnly) }.build()?;
        Ok(made.get_or_init(|| client))
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
                return Err(io::Error::other("its address is not public").into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
#[cfg(test)]
mod tests {
    use async_compression::tokio::write::{BzEncoder, GzipEncoder, XzEncoder, ZstdEncoder};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};

    use super::*;

    async fn compressed(bytes: &[u8], compression: &str) -> Vec<u8> {
        macro_rules! with {
            ($encoder:ident) => {{
                let mut encoder = $encoder::new(Vec::new());
                encoder.write_all(bytes).await.unwrap();
                encoder.shutdown().await.unwrap();
                encoder.into_inner()
            }};
        }
        match compression {
            "xz" => with!(XzEncoder),
            "bzip2" => with!(BzEncoder),
            "gzip" => with!(GzipEncoder),
            "zstd" => with!(ZstdEncoder),
            _ => bytes.to_vec(),
        }
    }

    #[tokio::test]
    async fn all_that_servers_offer_can_be_read() {
        let bytes = b"a text ".repeat(10_000);
        for compression in UpstreamNar::COMPRESSIONS {
            let sent = compressed(&bytes, compression).await;
            assert_eq!(sent == bytes, compression == "none");
            let mut read = Vec::new();
            let reader = BufReader::new(std::io::Cursor::new(sent));
            decompressed(reader, compression).unwrap().read_to_end(&mut read).await.unwrap();
            assert!(read == bytes, "{compression}");
        }
        assert!(decompressed(std::io::Cursor::new(Vec::new()), "br").is_none());
    }
}
