//! The HTTP routes beside the socket: NARs out of an organization's scope and into it.

mod nar;
mod pieces;
mod questions;
mod upload;
mod upstream;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_compression::tokio::bufread::ZstdDecoder;
use futures_util::TryStreamExt as _;
use gradient_domain::{Epoch, Failure, FailureKind, Job};
use gradient_nix::StorePath;
use gradient_protocol::{
    MAX_TASK_BYTES, Task, decode_task,
    transfer::{Refusal, TOO_LARGE, job_path, job_task},
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use thiserror::Error;
use tokio::{io::AsyncRead, sync::watch, time::timeout};
use tokio_util::io::StreamReader;

use crate::{backoff::Backoff, job::failure};
pub(crate) use nar::{NarFile, restore};
use upload::{CountedBody, NoAnswer, upload};
use upstream::Upstreams;

/// How long something is tried again while the session goes on. Without a session there is no such limit: the work is done, and
/// the server says when it comes back whether it still wants it.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long a transfer may stand still.
const STALL: Duration = Duration::from_mins(2);

/// The server as the jobs of a worker reach it. Clones share the session's token.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    /// Gives up when no answer comes for a while; uploads have a watch of their own, as nothing comes while they are sent.
    client: Client,
    uploads: Client,
    base: Url,
    token: watch::Sender<Option<Arc<str>>>,
    /// How large a body may be that gets through; 0 while nothing was cut.
    piece_bytes: Arc<AtomicU64>,
    upstreams: Arc<Upstreams>,
}

/// The routes of one assignment.
#[derive(Debug, Clone)]
pub(crate) struct JobTransfer {
    transfer: Transfer,
    job: Job,
    epoch: Epoch,
}

/// What the upload of a source claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declaration {
    /// Its content address in Nix's notation.
    pub(crate) content_address: String,
    /// What it refers to.
    pub(crate) references: Vec<StorePath>,
}

/// Why a transfer did not succeed.
#[derive(Debug, Error)]
pub(crate) enum TransferError {
    /// The server cannot be reached, or lost the connection again and again.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The server says no.
    #[error("the server refuses {what}: {message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The server's words.
        message: String,
        /// The status of its answer.
        status: StatusCode,
        /// Its code for the refusal; empty when it was not the server itself that answered.
        code: String,
    },
    /// The session has no token, or none that the server takes.
    #[error("the server does not accept this session")]
    Unauthorized,
    /// An upstream does not give what the server says that it has.
    #[error("{path} cannot be had from its upstream: {reason}")]
    Upstream {
        /// Which path.
        path: StorePath,
        /// What is wrong.
        reason: String,
        /// Whether it would be the same again.
        is_lasting: bool,
    },
    /// What was to be sent cannot be read, or what came cannot be written.
    #[error("{what}: {source}")]
    Local {
        /// Which path.
        what: String,
        /// What the system says.
        source: io::Error,
    },
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        // Nothing of this is the derivation's fault, but the size of what it makes.
        let kind = match &error {
            TransferError::Refused { status, .. } if *status == StatusCode::NOT_FOUND => FailureKind::InputsMissing,
            TransferError::Upstream { is_lasting: true, .. } => FailureKind::InputsMissing,
            TransferError::Refused { code, .. } if code == TOO_LARGE => FailureKind::OutputLimit,
            TransferError::Refused { status, .. } if *status == StatusCode::UNPROCESSABLE_ENTITY => FailureKind::WorkerUnfit,
            TransferError::Refused { .. }
            | TransferError::Unreachable(_)
            | TransferError::Unauthorized
            | TransferError::Upstream { .. }
            | TransferError::Local { .. } => FailureKind::Transient,
        };
        failure(kind, error)
    }
}

impl Transfer {
    /// The routes beside the socket at `socket`, such as `ws://host/proto`.
    pub(crate) fn new(socket: &Url) -> Result<Self, reqwest::Error> {
        let client = || Client::builder().connect_timeout(Duration::from_secs(20));
        let (client, uploads) = (client().read_timeout(STALL).build()?, client().build()?);
        let (token, piece_bytes) = (watch::Sender::new(None), Arc::default());
        Ok(Self { client, uploads, base: http_base(socket), token, piece_bytes, upstreams: Arc::default() })
    }

    /// Takes the token of a new session.
    pub(crate) fn set_token(&self, token: &str) {
        self.token.send_replace(Some(token.into()));
    }

    /// The session has ended.
    pub(crate) fn clear_token(&self) {
        self.token.send_replace(None);
    }

    /// The routes of one assignment.
    pub(crate) fn for_job(&self, job: Job, epoch: Epoch) -> JobTransfer {
        JobTransfer { transfer: self.clone(), job, epoch }
    }

    /// Sends a request until it has an answer. `build` is asked anew for each try.
    async fn send(
        &self,
        what: &str,
        path: &str,
        build: impl Fn(&Client, Url) -> RequestBuilder,
    ) -> Result<Response, TransferError> {
        let mut retries = Retries::new();
        loop {
            let (token, sent) = self
                .try_once(path, "", async |url, token| {
                    build(&self.client, url).bearer_auth(token).send().await.map_err(|error| NoAnswer::from(&error))
                })
                .await?;
            let error = match sent {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                    self.next_token(&token).await?;
                    continue;
                }
                Ok(response) if is_passing(response.status()) => format!("it answers {}", response.status()),
                Ok(response) => return Err(refusal(what, response).await.1),
                Err(error) => error.reason,
            };
            self.wait(&mut retries, what, error).await?;
        }
    }

    /// Sends a request once there is a token, and says which one that was.
    async fn try_once(
        &self,
        path: &str,
        query: &str,
        request: impl AsyncFnOnce(Url, &str) -> Result<Response, NoAnswer>,
    ) -> Result<(Arc<str>, Result<Response, NoAnswer>), TransferError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let token = loop {
            let token = self.token.borrow().clone();
            match token {
                Some(token) => break token,
                None => self.session().await?,
            }
        };
        let sent = request(url, &token).await;
        Ok((token, sent))
    }

    /// Waits until there is a session.
    async fn session(&self) -> Result<(), TransferError> {
        let mut token = self.token.subscribe();
        token.wait_for(Option::is_some).await.map(drop).map_err(|_| TransferError::Unauthorized)
    }

    /// Waits until the session has another token than `old`.
    async fn next_token(&self, old: &Arc<str>) -> Result<(), TransferError> {
        let mut token = self.token.subscribe();
        let other = token.wait_for(|token| token.as_ref() != Some(old));
        match timeout(PATIENCE, other).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(TransferError::Unauthorized),
        }
    }

    /// Waits for the next try, unless the server has been there and it has been tried for too long.
    async fn wait(&self, retries: &mut Retries, what: &str, error: String) -> Result<(), TransferError> {
        if self.token.borrow().is_none() {
            self.session().await?;
            *retries = Retries::new();
        }
        retries.wait(what, error).await
    }
}

impl JobTransfer {
    /// The task that was too large for its assignment.
    pub(crate) async fn task(&self) -> Result<Task, TransferError> {
        let unreadable = |reason: String| TransferError::Unreachable(format!("the task that it gives cannot be read: {reason}"));
        let mut response = self.transfer.send("the task", &job_task(self.job, self.epoch), Client::get).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreadable(chain(&error)))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_TASK_BYTES {
                return Err(unreadable(format!("it has more than {MAX_TASK_BYTES} bytes")));
            }
        }
        decode_task(&bytes).map_err(|error| unreadable(error.to_string()))
    }

    /// Uploads the NAR of a path; sources say what they claim to be. It goes in pieces when something on the way cuts it, as do all
    /// that follow.
    pub(crate) async fn put(
        &self,
        path: &StorePath,
        nar: &NarFile,
        declaration: Option<&Declaration>,
    ) -> Result<(), TransferError> {
        let piece_bytes = &self.transfer.piece_bytes;
        let bytes = match piece_bytes.load(Relaxed) {
            0 if self.put_whole(path, nar, declaration).await? => return Ok(()),
            0 => pieces::FIRST,
            bytes => bytes,
        };
        let bytes = self.put_in_pieces(path, nar, declaration, bytes).await?;
        piece_bytes.store(bytes, Relaxed);
        Ok(())
    }

    /// Uploads it with one request; whether it got through. Otherwise something has cut it.
    async fn put_whole(&self, path: &StorePath, nar: &NarFile, declaration: Option<&Declaration>) -> Result<bool, TransferError> {
        let (route, what) = (job_path(self.job, self.epoch, path), format!("the upload of {path}"));
        let mut retries = Retries::new();
        loop {
            let put = async |url, token: &str| {
                let request = self.transfer.uploads.put(url).bearer_auth(token);
                upload(pieces::declared(request, declaration), CountedBody::new(nar.stream())).await
            };
            let (token, sent) = self.transfer.try_once(&route, "", put).await?;
            let error = match sent {
                Ok(response) if response.status().is_success() => return Ok(true),
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                    self.transfer.next_token(&token).await?;
                    continue;
                }
                Ok(response) if response.status() == StatusCode::PAYLOAD_TOO_LARGE => return Ok(false),
                Ok(response) if is_passing(response.status()) => format!("it answers {}", response.status()),
                outcome => {
                    if let Some(source) = nar.take_error() {
                        return Err(TransferError::Local { what, source });
                    }
                    match outcome {
                        Ok(response) => match refusal(&what, response).await {
                            (code, _) if code == "incomplete" => return Ok(false),
                            (_, error) => return Err(error),
                        },
                        Err(error) if error.unconnected => error.reason,
                        // Without a session it was the server that went, and nothing that cut it.
                        Err(error) if self.transfer.token.borrow().is_none() => error.reason,
                        Err(_) => return Ok(false),
                    }
                }
            };
            self.transfer.wait(&mut retries, &what, error).await?;
        }
    }

    /// The NAR of a path of the organization's scope, decompressed.
    pub(crate) async fn get(&self, path: &StorePath) -> Result<impl AsyncRead + Send + Unpin + 'static, TransferError> {
        let route = job_path(self.job, self.epoch, path);
        let response = self.transfer.send(&format!("the download of {path}"), &route, Client::get).await?;
        let body = response.bytes_stream().map_err(|error| io::Error::other(chain(&error)));
        Ok(ZstdDecoder::new(StreamReader::new(Box::pin(body))))
    }
}

/// Whether an answer may be another one in a while.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// The code of a refusal, and what it is as an error.
async fn refusal(what: &str, response: Response) -> (String, TransferError) {
    let status = response.status();
    let (code, message) = match response.json::<Refusal>().await {
        Ok(refusal) => (refusal.code, refusal.message.chars().take(2000).collect()),
        Err(_) => (String::new(), format!("it answers {status}")),
    };
    (code.clone(), TransferError::Refused { what: what.to_owned(), message, status, code })
}

/// How long something is tried again.
struct Retries {
    begun: Instant,
    backoff: Backoff,
}

impl Retries {
    fn new() -> Self {
        Self { begun: Instant::now(), backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(3)) }
    }

    /// Waits for the next try, unless it has been tried for too long.
    async fn wait(&mut self, what: &str, error: String) -> Result<(), TransferError> {
        if self.begun.elapsed() > PATIENCE {
            return Err(TransferError::Unreachable(error));
        }
        tracing::debug!(what, error, "trying again");
        tokio::time::sleep(self.backoff.next_delay()).await;
        Ok(())
    }
}

/// An error with all that caused it; addresses of requests hold nothing secret, tokens are in headers.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// `wss://host/prefix/proto` → `https://host/prefix`.
fn http_base(socket: &Url) -> Url {
    let text = socket.as_str();
    let text = text.strip_prefix("ws").map_or_else(|| text.to_owned(), |rest| format!("http{rest}"));
    let mut url = Url::parse(&text).unwrap_or_else(|_| socket.clone());
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/proto").unwrap_or(path).to_owned();
    url.set_path(&path);
    url.set_query(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_routes_are_beside_the_socket() {
        let check = |socket: &str, expected: &str| assert_eq!(http_base(&socket.parse().unwrap()).as_str(), expected);
        check("ws://127.0.0.1:3000/proto", "http://127.0.0.1:3000/");
        check("wss://ci.example.org/gradient/proto/", "https://ci.example.org/gradient");
        check("ws://ws.example.org/proto?x=1", "http://ws.example.org/");
    }
}
