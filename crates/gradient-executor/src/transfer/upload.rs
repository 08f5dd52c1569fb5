//! One upload: a body of which one can see how far it was taken, and the watch over it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use reqwest::{Body, RequestBuilder, Response};
use tokio::time::timeout;

use super::{STALL, chain};

/// How long the server may take to say what it thinks of an upload once it has it all.
pub(super) const VERDICT: Duration = Duration::from_hours(1);

/// A body, how many bytes of it were taken, and whether that was all.
pub(super) struct CountedBody {
    body: Body,
    taken: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl CountedBody {
    pub(super) fn new(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        let (taken, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&taken), Arc::clone(&ended));
        let counted = stream.inspect(move |bytes| {
            if let Ok(bytes) = bytes {
                count.fetch_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX), Relaxed);
            }
        });
        let counted = counted.chain(futures_util::stream::poll_fn(move |_| {
            end.store(true, Relaxed);
            std::task::Poll::Ready(None)
        }));
        Self { body: Body::wrap_stream(counted), taken, ended }
    }
}

/// A request that has no answer.
pub(super) struct NoAnswer {
    pub(super) reason: String,
    /// Whether nothing of it was sent.
    pub(super) unconnected: bool,
}

impl From<&reqwest::Error> for NoAnswer {
    fn from(error: &reqwest::Error) -> Self {
        Self { reason: chain(error), unconnected: error.is_connect() }
    }
}

/// Sends a body that counts what is taken of it. It is given up when it stands still, and when no verdict comes.
pub(super) async fn upload(request: RequestBuilder, body: CountedBody) -> Result<Response, NoAnswer> {
    let CountedBody { body, taken, ended } = body;
    let sent = request.body(body).send();
    tokio::pin!(sent);
    let mut before = taken.load(Relaxed);
    let mut since_end = Duration::ZERO;
    loop {
        let reason = match timeout(STALL, &mut sent).await {
            Ok(answer) => return answer.map_err(|error| NoAnswer::from(&error)),
            Err(_) if ended.load(Relaxed) && since_end < VERDICT => {
                since_end += STALL;
                continue;
            }
            Err(_) if ended.load(Relaxed) => format!("no answer came within {} minutes", VERDICT.as_secs() / 60),
            Err(_) => {
                let now = taken.load(Relaxed);
                if now != before {
                    before = now;
                    continue;
                }
                format!("nothing of it was taken for {} minutes", STALL.as_secs() / 60)
            }
        };
        return Err(NoAnswer { reason, unconnected: false });
    }
}
