//! Takes in the whole body of a request, within bounds: of size, of time, and of memory for all bodies together.

use std::time::Duration;

use actix_web::{
    HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header,
    web::{Bytes, BytesMut},
};
use futures_util::StreamExt;
use gradient_domain::OrganizationId;
use gradient_engine::{Share, Shares};

use crate::{ApiError, error::Code, rate_limit::Client};

/// This much of each body is not counted: the number of connections bounds it, and small requests go through whatever others
/// send.
const FREE: usize = 4 << 10;

/// How many of the largest bodies there may be in memory at the same time; and of one sender.
const LARGEST_AT_A_TIME: usize = 32;
const LARGEST_OF_EACH: usize = 4;

/// Whose body it is: each may have so much of the memory only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sender {
    /// Whoever sends requests.
    Client(Client),
    /// The workers that have jobs of an organization.
    Workers(OrganizationId),
}

/// The bounds of all bodies of a server.
#[derive(Debug)]
pub(crate) struct BodyLimits {
    max_bytes: usize,
    time: Duration,
    memory: Shares<Sender>,
}

/// A body; its memory is given back when this is dropped.
pub(crate) struct Received {
    bytes: BytesMut,
    memory: Option<Share<Sender>>,
}

impl BodyLimits {
    /// So many bytes, in so much time, for each body.
    pub(crate) fn new(max_bytes: usize, time: Duration) -> Self {
        let [all, each] = [LARGEST_AT_A_TIME, LARGEST_OF_EACH].map(|number| max_bytes.saturating_mul(number));
        Self { max_bytes, time, memory: Shares::new(all, each) }
    }
}

impl Received {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body on its way, with the memory that is counted for it.
pub(crate) struct Receiving<'a> {
    limits: &'a BodyLimits,
    sender: Sender,
    max_bytes: usize,
    received: Received,
}

impl<'a> Receiving<'a> {
    /// One of at most so many bytes.
    pub(crate) fn new(limits: &'a BodyLimits, sender: Sender, max_bytes: usize) -> Self {
        Self { limits, sender, max_bytes, received: Received { bytes: BytesMut::new(), memory: None } }
    }

    /// Takes what comes next, when there is memory for it.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), ApiError> {
        let length = self.received.bytes.len().saturating_add(chunk.len());
        if length > self.max_bytes {
            return Err(too_large(self.max_bytes));
        }
        reserve(&mut self.received.memory, length.saturating_sub(FREE), self.sender, self.limits)?;
        self.received.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// It, at its end.
    pub(crate) fn finish(self) -> Received {
        self.received
    }
}

/// Reads the body to its end.
pub(super) async fn receive(
    limits: &BodyLimits,
    sender: Sender,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Received, ApiError> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limits.max_bytes) {
        return Err(too_large(limits.max_bytes));
    }
    let read = tokio::time::timeout(limits.time, read(payload, sender, limits)).await;
    read.unwrap_or_else(|_| Err(ApiError::new(Code::RequestTimeout, "the body did not come in time")))
}

async fn read(mut payload: Payload, sender: Sender, limits: &BodyLimits) -> Result<Received, ApiError> {
    let mut receiving = Receiving::new(limits, sender, limits.max_bytes);
    while let Some(chunk) = payload.next().await {
        let chunk: Bytes = chunk.map_err(|error| unreadable(&error, limits))?;
        receiving.push(&chunk)?;
    }
    Ok(receiving.finish())
}

/// Grows the reservation to this many bytes.
fn reserve(memory: &mut Option<Share<Sender>>, bytes: usize, sender: Sender, limits: &BodyLimits) -> Result<(), ApiError> {
    let reserved = match memory {
        Some(held) => held.grow(bytes.saturating_sub(held.amount())),
        None if bytes == 0 => Ok(()),
        None => limits.memory.try_take(sender, bytes).map(|share| *memory = Some(share)),
    };
    reserved.map_err(|_| ApiError::new(Code::Unavailable, "too many large requests are on the way; try again later"))
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
