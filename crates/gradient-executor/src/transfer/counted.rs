//! A body of which one can see how far it was taken.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use reqwest::Body;

/// A body, how many bytes of it were taken, and whether that was all.
pub(super) struct CountedBody {
    pub(super) body: Body,
    pub(super) taken: Arc<AtomicU64>,
    pub(super) ended: Arc<AtomicBool>,
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
