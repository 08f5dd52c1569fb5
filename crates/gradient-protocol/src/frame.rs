//! One message to bytes and back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IgnoredAny};
use thiserror::Error;

use crate::{ToServer, ToWorker};

/// The largest frame that either side sends or takes after the handshake.
pub const MAX_FRAME_BYTES: usize = 4 << 20;

/// The largest first frame: nothing is proven yet when it is read.
pub const MAX_HELLO_BYTES: usize = 256 << 10;

/// A set of messages that one side sends.
pub trait Message: Serialize + DeserializeOwned {
    /// The types there are.
    const TYPES: &'static [&'static str];
}

impl Message for ToServer {
    const TYPES: &'static [&'static str] =
        &["hello", "capabilities", "report", "log", "load", "draining", "signed", "unsupported"];
}

impl Message for ToWorker {
    const TYPES: &'static [&'static str] =
        &["welcome", "refused", "assign", "cancel", "sign", "drain", "acknowledged", "log_stored", "unsupported"];
}

/// A message that cannot be sent.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// It is larger than the other side takes.
    #[error("a message of {0} bytes is larger than the {MAX_FRAME_BYTES} that a frame may have")]
    TooLarge(usize),
    /// It has no form in MessagePack.
    #[error("cannot encode a message")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// A frame that is no message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A well-formed message of a type that this version does not know.
    #[error("message type `{message_type}` is not supported")]
    Unsupported {
        /// The type, cut to 100 characters.
        message_type: String,
    },
    /// Anything else.
    #[error("malformed message: {0}")]
    Malformed(String),
}

/// The bytes of one message.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(256);
    message.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable())?;
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(EncodeError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

/// The message in one frame.
pub fn decode<M: Message>(frame: &[u8]) -> Result<M, DecodeError> {
    read(frame).map_err(|error| match message_type(frame) {
        Some(message_type) if !M::TYPES.contains(&message_type.as_str()) => DecodeError::Unsupported { message_type },
        _ => DecodeError::Malformed(error),
    })
}

fn message_type(frame: &[u8]) -> Option<String> {
    #[expect(clippy::zero_sized_map_values, reason = "serde reads a map; the values are of no interest yet")]
    let map: BTreeMap<String, IgnoredAny> = read(frame).ok()?;
    let mut keys = map.into_keys();
    let key = keys.next()?;
    keys.next().is_none().then(|| key.chars().take(100).collect())
}

fn read<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, String> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(frame).with_human_readable();
    reader.set_max_depth(64);
    T::deserialize(&mut reader).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
