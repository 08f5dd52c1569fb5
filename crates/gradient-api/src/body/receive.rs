//! Takes in the whole body of a request, within bounds: of size, of time, and of memory for all bodies together.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header,
    web::{self, Bytes, BytesMut},
};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{ApiError, error::Code};

/// This much of each body is not counted: the number of connections bounds it, and small requests go through whatever others
/// send.
const FREE: usize = 4 << 10;

/// How many of the largest bodies there may be in memory at the same time.
const LARGEST_AT_A_TIME: usize = 32;

/// The bounds of all bodies of a server.
#[derive(Debug)]
pub(crate) struct BodyLimits {
    max_bytes: usize,
    time: Duration,
    memory: Arc<Semaphore>,
}

/// A body; its memory is given back when this is dropped.
pub(super) struct Received {
    bytes: BytesMut,
    _memory: Option<OwnedSemaphorePermit>,
}

impl BodyLimits {
    /// So many bytes, in so much time, for each body.
    pub(crate) fn new(max_bytes: usize, time: Duration) -> Self {
        let memory = max_bytes.saturating_mul(LARGEST_AT_A_TIME).min(Semaphore::MAX_PERMITS);
        Self { max_bytes, time, memory: Arc::new(Semaphore::new(memory)) }
    }
}

impl Received {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the body to its end.
pub(super) fn receive(request: &HttpRequest, payload: &mut Payload) -> impl Future<Output = Result<Received, ApiError>> + use<> {
    let limits = request.app_data::<web::Data<BodyLimits>>().cloned();
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let payload = payload.take();
    async move {
        let limits = limits.ok_or_else(|| ApiError::new(Code::Internal, "internal server error"))?;
        if declared.is_some_and(|length| length > limits.max_bytes) {
            return Err(too_large(limits.max_bytes));
        }
        let read = tokio::time::timeout(limits.time, read(payload, &limits)).await;
        read.unwrap_or_else(|_| Err(ApiError::new(Code::RequestTimeout, "the body did not come in time")))
    }
}

async fn read(mut payload: Payload, limits: &BodyLimits) -> Result<Received, ApiError> {
    let (mut bytes, mut memory) = (BytesMut::new(), None);
    while let Some(chunk) = payload.next().await {
        let chunk: Bytes = chunk.map_err(|error| unreadable(&error, limits))?;
        let length = bytes.len() + chunk.len();
        if length > limits.max_bytes {
            return Err(too_large(limits.max_bytes));
        }
        reserve(&mut memory, length.saturating_sub(FREE), limits)?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(Received { bytes, _memory: memory })
}

/// Grows the reservation to this many bytes.
fn reserve(memory: &mut Option<OwnedSemaphorePermit>, bytes: usize, limits: &BodyLimits) -> Result<(), ApiError> {
    let held = memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let more = u32::try_from(bytes.saturating_sub(held)).unwrap_or(u32::MAX);
    let busy = |_| ApiError::new(Code::Unavailable, "too many large requests are on the way; try again later");
    let permit = Arc::clone(&limits.memory).try_acquire_many_owned(more).map_err(busy)?;
    match memory {
        Some(held) => held.merge(permit),
        None => *memory = Some(permit),
    }
    Ok(())
}

fn unreadable(error: &PayloadError, limits: &BodyLimits) -> ApiError {
    match error {
        PayloadError::Overflow => too_large(limits.max_bytes),
        _ => ApiError::bad_request("the body cannot be read"),
    }
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(Code::PayloadTooLarge, format!("the body is larger than {limit} bytes"))
}
