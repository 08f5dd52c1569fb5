//! Uploads in pieces: for a way to the server on which something cuts what is large.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use gradient_nix::StorePath;
use gradient_protocol::transfer::{
    CONTENT_ADDRESS_HEADER, OFFSET_HEADER, REFERENCES_HEADER, WRONG_OFFSET, job_pieces, job_pieces_finish,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::Mutex;

use super::{
    Declaration, JobTransfer, PATIENCE, TransferError,
    nar::{Compressed, NarFile},
    upload::{CountedBody, VERDICT, upload},
};
use crate::backoff::Backoff;

/// The size of the first piece in bytes. Each one that is cut halves it.
pub(super) const FIRST: u64 = 32 << 20;

/// Smaller pieces are not tried: something else is wrong.
const SMALLEST: u64 = 64 << 10;

/// How often an upload begins anew.
const BEGINNINGS: usize = 3;

/// A compressed NAR, as far as it was read.
struct Source {
    stream: Compressed,
    /// What was read and not given out.
    rest: Bytes,
    /// How much was given out.
    offset: u64,
    has_ended: bool,
}

impl Source {
    fn new(nar: &NarFile) -> Self {
        Self { stream: nar.stream(), rest: Bytes::new(), offset: 0, has_ended: false }
    }

    /// The next bytes, at most so many; `None` at the end.
    async fn next(&mut self, max: u64) -> io::Result<Option<Bytes>> {
        while self.rest.is_empty() {
            let Some(bytes) = self.stream.next().await else {
                self.has_ended = true;
                return Ok(None);
            };
            self.rest = bytes?;
        }
        let count = usize::try_from(max).unwrap_or(usize::MAX).min(self.rest.len());
        self.offset = self.offset.saturating_add(u64::try_from(count).unwrap_or(0));
        Ok(Some(self.rest.split_to(count)))
    }

    /// Whether nothing comes any more.
    async fn is_at_end(&mut self) -> io::Result<bool> {
        while self.rest.is_empty() && !self.has_ended {
            match self.stream.next().await {
                Some(bytes) => self.rest = bytes?,
                None => self.has_ended = true,
            }
        }
        Ok(self.rest.is_empty())
    }
}

/// A body of the next bytes of a source, at most so many.
fn piece(source: &Arc<Mutex<Source>>, bytes: u64) -> CountedBody {
    let state = (Arc::clone(source), bytes);
    CountedBody::new(stream::try_unfold(state, async |(source, left)| {
        if left == 0 {
            return Ok::<_, io::Error>(None);
        }
        let next = source.lock().await.next(left).await?;
        Ok(next.map(|bytes| {
            let left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(0));
            (bytes, (source, left))
        }))
    }))
}

impl JobTransfer {
    /// Uploads a NAR in pieces, the first of which has at most `bytes`, and smaller ones when they are cut. It goes on where it was as
    /// often as it breaks off, as long as it comes further. The size that got through.
    pub(super) async fn put_in_pieces(
        &self,
        path: &StorePath,
        nar: &NarFile,
        declaration: Option<&Declaration>,
        bytes: u64,
    ) -> Result<u64, TransferError> {
        for _ in 0..BEGINNINGS {
            if let Some(bytes) = self.put_pieces(path, nar, declaration, bytes).await? {
                return Ok(bytes);
            }
        }
        Err(TransferError::Unreachable(format!("the server has lost what had come of {path} again and again")))
    }

    /// The same once; `None` when the server has nothing of it in the end: it was restarted, or its answer did not get through.
    async fn put_pieces(
        &self,
        path: &StorePath,
        nar: &NarFile,
        declaration: Option<&Declaration>,
        mut bytes: u64,
    ) -> Result<Option<u64>, TransferError> {
        let what = format!("the upload of {path}");
        let local = |source| TransferError::Local { what: what.clone(), source };
        let mut source = Arc::new(Mutex::new(Source::new(nar)));
        let (mut offset, mut furthest, mut last) = (0, 0, Instant::now());
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(3));
        loop {
            let error = match self.send_piece(&what, path, offset, piece(&source, bytes)).await? {
                // All of the body was read, so nobody holds the source. Of one that was cut, somebody may for long.
                Sent::To(end) => {
                    let mut given = source.lock().await;
                    if end == given.offset {
                        (offset, last) = (end, Instant::now());
                        backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(3));
                        if given.is_at_end().await.map_err(local)? {
                            break;
                        }
                        continue;
                    }
                    format!("{end} bytes have come")
                }
                Sent::Cut(error) => {
                    bytes = (bytes / 2).max(SMALLEST);
                    error
                }
                Sent::Elsewhere(error) | Sent::Lost(error) => error,
            };
            if let Some(source) = nar.take_error() {
                return Err(local(source));
            }
            if self.transfer.token.borrow().is_none() {
                self.transfer.session().await?;
                last = Instant::now();
            }
            if last.elapsed() > PATIENCE {
                return Err(TransferError::Unreachable(error));
            }
            tracing::debug!(what, error, bytes, "going on in pieces");
            tokio::time::sleep(backoff.next_delay()).await;
            offset = self.pieces_offset(&what, path).await?;
            if offset > furthest {
                (furthest, last) = (offset, Instant::now());
            }
            source = Arc::new(Mutex::new(Source::new(nar)));
            let mut skipped = source.lock().await;
            while skipped.offset < offset {
                let left = offset - skipped.offset;
                if skipped.next(left).await.map_err(local)?.is_none() {
                    // The server has more than there is: it is another tree now.
                    offset = 0;
                    break;
                }
            }
            let is_whole = offset > 0 && skipped.is_at_end().await.map_err(local)?;
            drop(skipped);
            if offset == 0 {
                source = Arc::new(Mutex::new(Source::new(nar)));
            } else if is_whole {
                break;
            }
        }
        let route = job_pieces_finish(self.job, self.epoch, path);
        // All of it is verified before the answer comes.
        let finish = |_: &Client, url: Url| declared(self.transfer.uploads.post(url).timeout(VERDICT), declaration);
        match self.transfer.send(&what, &route, finish).await {
            Ok(_) => Ok(Some(bytes)),
            Err(TransferError::Refused { status, .. }) if status == StatusCode::BAD_REQUEST => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How much of a path's NAR has come.
    async fn pieces_offset(&self, what: &str, path: &StorePath) -> Result<u64, TransferError> {
        let route = job_pieces(self.job, self.epoch, path);
        Ok(come(&self.transfer.send(what, &route, Client::head).await?).unwrap_or(0))
    }

    /// Sends one piece, once.
    async fn send_piece(&self, what: &str, path: &StorePath, offset: u64, body: CountedBody) -> Result<Sent, TransferError> {
        let route = job_pieces(self.job, self.epoch, path);
        let query = format!("offset={offset}");
        let put = async |url, token: &str| upload(self.transfer.uploads.put(url).bearer_auth(token), body).await;
        let (_, sent) = self.transfer.try_once(&route, &query, put).await?;
        match sent {
            Ok(response) if response.status().is_success() => Ok(match come(&response) {
                Some(end) => Sent::To(end),
                None => Sent::Lost("it does not say how much has come".to_owned()),
            }),
            Ok(response) if response.status() == StatusCode::PAYLOAD_TOO_LARGE => Ok(Sent::Cut("it is too large".to_owned())),
            Ok(response) if super::is_passing(response.status()) || response.status() == StatusCode::UNAUTHORIZED => {
                Ok(Sent::Lost(format!("it answers {}", response.status())))
            }
            Ok(response) => match super::refusal(what, response).await {
                (code, error) if code == WRONG_OFFSET || code == "incomplete" => Ok(Sent::Elsewhere(error.to_string())),
                (_, error) => Err(error),
            },
            // It may have been cut for its size.
            Err(error) if !error.unconnected && self.transfer.token.borrow().is_some() => Ok(Sent::Cut(error.reason)),
            Err(error) => Ok(Sent::Lost(error.reason)),
        }
    }
}

/// What became of a piece.
enum Sent {
    /// So much has come.
    To(u64),
    /// It was too large for something on the way, or looks so.
    Cut(String),
    /// It begins where the server is not.
    Elsewhere(String),
    /// The server did not get it, or cannot take it now.
    Lost(String),
}

fn come(response: &Response) -> Option<u64> {
    response.headers().get(OFFSET_HEADER)?.to_str().ok()?.parse().ok()
}

/// With what a source is declared to be.
pub(super) fn declared(request: RequestBuilder, declaration: Option<&Declaration>) -> RequestBuilder {
    let Some(declaration) = declaration else { return request };
    let references: Vec<_> = declaration.references.iter().map(ToString::to_string).collect();
    request.header(CONTENT_ADDRESS_HEADER, &declaration.content_address).header(REFERENCES_HEADER, references.join(" "))
}
