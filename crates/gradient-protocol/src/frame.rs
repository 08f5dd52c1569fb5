//! One message to bytes and back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IgnoredAny};
use thiserror::Error;

use crate::{Task, ToServer, ToWorker};

/// The largest frame that either side sends or takes after the handshake.
pub const MAX_FRAME_BYTES: usize = 4 << 20;

/// The largest task that a worker reads beside the socket: the inputs of some 100,000 paths.
pub const MAX_TASK_BYTES: usize = 64 << 20;

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
    #[error("a message of {bytes} bytes is larger than the {max} that it may have")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What the other side takes.
        max: usize,
    },
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
    write(message, MAX_FRAME_BYTES)
}

/// Whether a message fits a frame.
pub fn fits_frame<M: Message>(message: &M) -> bool {
    encode(message).is_ok()
}

/// The bytes of a task that is read beside the socket.
pub fn encode_task(task: &Task) -> Result<Vec<u8>, EncodeError> {
    write(task, MAX_TASK_BYTES)
}

/// The task in such bytes.
pub fn decode_task(bytes: &[u8]) -> Result<Task, DecodeError> {
    read(bytes).map_err(DecodeError::Malformed)
}

fn write(value: &impl Serialize, max: usize) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(256);
    value.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable())?;
    if bytes.len() > max {
        return Err(EncodeError::TooLarge { bytes: bytes.len(), max });
    }
    Ok(bytes)
}

/// The message in one frame.
pub fn decode<M: Message>(frame: &[u8]) -> Result<M, DecodeError> {
    read(frame).map_err(|error| match message_type(frame) {
        Some(message_type) if !M::TYPES.contains(&message_type.as_str()) => DecodeError::Unsupported { message_type },
        // A newer peer knows more reports, tasks and kinds of things. It is serde that words this.
        Some(message_type) if error.contains("unknown variant") => {
            DecodeError::Unsupported { message_type: format!("{message_type}: {error}").chars().take(100).collect() }
        }
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
