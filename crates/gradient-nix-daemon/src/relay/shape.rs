//! What operations are told and answer, so that both can be passed on without knowing what they mean.

use gradient_nix::StorePath;

use crate::{
    Error,
    wire::{ListRoom, Reader, Writer},
};

/// A part of a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    Number,
    Text,
    Texts,
    /// A list of names with values.
    Pairs,
    /// What a store says of a path.
    Info,
    /// The same behind the number 1, or 0 and nothing.
    OptionalInfo,
    /// A list of numbers and texts, each behind its kind.
    Details,
    /// Where an error came from.
    Traces,
}

/// A part of a message that has come.
#[derive(Debug)]
pub(super) enum Value {
    Number(u64),
    Text(Vec<u8>),
    Texts(Vec<Vec<u8>>),
    /// Everything else, as the numbers and texts that it consists of.
    Parts(Vec<Self>),
}

use Field::{Info, Number, OptionalInfo, Pairs, Text, Texts};

/// What the operations of evaluators are told, and what they answer.
pub(super) fn of(operation: u64) -> Option<(&'static [Field], &'static [Field])> {
    Some(match operation {
        // Whether a path is valid; to ensure it, to keep it for a while, to keep it by an indirect root.
        1 | 10 | 11 | 12 => (&[Text], &[Number]),
        // To build paths.
        9 => (&[Texts, Number], &[Number]),
        // To wait for the garbage collector.
        13 => (&[], &[Number]),
        // To set options.
        19 => (&[Number, Number, Number, Number, Number, Number, Number, Number, Number, Number, Number, Number, Pairs], &[]),
        26 => (&[Text], &[OptionalInfo]),
        // The path with a hash.
        29 => (&[Text], &[Text]),
        // Which paths are valid, which can be substituted.
        31 => (&[Texts, Number], &[Texts]),
        32 => (&[Texts], &[Texts]),
        // What would have to be built or substituted.
        40 => (&[Texts], &[Texts, Texts, Texts, Number, Number]),
        // The outputs of a derivation by their names.
        41 => (&[Text], &[Pairs]),
        // The outputs of a derivation, a realisation.
        22 | 43 => (&[Text], &[Texts]),
        _ => return None,
    })
}

/// Reads fields.
pub(super) async fn read(reader: &mut Reader, fields: &[Field]) -> Result<Vec<Value>, Error> {
    let mut values = Vec::new();
    for field in fields {
        values.push(match field {
            Number => Value::Number(reader.number().await?),
            Text => Value::Text(reader.bytes().await?),
            Texts => Value::Texts(texts(reader).await?),
            Pairs => {
                let count = reader.count().await?;
                let (mut parts, mut room) = (vec![Value::Number(count)], ListRoom::default());
                for _ in 0..2 * count {
                    parts.push(Value::Text(reader.bytes_of_list(&mut room).await?));
                }
                Value::Parts(parts)
            }
            Info => Value::Parts(info(reader).await?),
            OptionalInfo => {
                let is_there = reader.number().await?;
                let mut parts = vec![Value::Number(is_there)];
                if is_there != 0 {
                    parts.extend(info(reader).await?);
                }
                Value::Parts(parts)
            }
            Field::Details => Value::Parts(details(reader).await?),
            Field::Traces => Value::Parts(traces(reader).await?),
        });
    }
    Ok(values)
}

/// Deriver, hash, references, time, size, whether it is the store's own work, signatures, content address.
async fn info(reader: &mut Reader) -> Result<Vec<Value>, Error> {
    let (deriver, hash) = (Value::Text(reader.bytes().await?), Value::Text(reader.bytes().await?));
    let references = Value::Texts(texts(reader).await?);
    let mut parts = vec![deriver, hash, references];
    for _ in 0..3 {
        parts.push(Value::Number(reader.number().await?));
    }
    parts.push(Value::Texts(texts(reader).await?));
    parts.push(Value::Text(reader.bytes().await?));
    Ok(parts)
}

async fn details(reader: &mut Reader) -> Result<Vec<Value>, Error> {
    let count = reader.count().await?;
    let (mut parts, mut room) = (vec![Value::Number(count)], ListRoom::default());
    for _ in 0..count {
        let kind = reader.number().await?;
        parts.push(Value::Number(kind));
        parts.push(match kind {
            0 => Value::Number(reader.number().await?),
            1 => Value::Text(reader.bytes_of_list(&mut room).await?),
            _ => return Err(Error::Malformed("a field")),
        });
    }
    Ok(parts)
}

async fn traces(reader: &mut Reader) -> Result<Vec<Value>, Error> {
    let count = reader.count().await?;
    let (mut parts, mut room) = (vec![Value::Number(count)], ListRoom::default());
    for _ in 0..count {
        parts.push(Value::Number(reader.number().await?));
        parts.push(Value::Text(reader.bytes_of_list(&mut room).await?));
    }
    Ok(parts)
}

async fn texts(reader: &mut Reader) -> Result<Vec<Vec<u8>>, Error> {
    let (mut texts, mut room) = (Vec::new(), ListRoom::default());
    for _ in 0..reader.count().await? {
        texts.push(reader.bytes_of_list(&mut room).await?);
    }
    Ok(texts)
}

/// Writes what was read.
pub(super) fn write(writer: &mut Writer, values: &[Value]) {
    for value in values {
        match value {
            Value::Number(number) => {
                writer.number(*number);
            }
            Value::Text(text) => {
                writer.text(text);
            }
            Value::Texts(texts) => {
                writer.texts(texts.iter());
            }
            Value::Parts(parts) => write(writer, parts),
        }
    }
}

impl Value {
    /// The path that it is.
    pub(super) fn as_path(&self) -> Option<StorePath> {
        match self {
            Self::Text(text) => path(text),
            _ => None,
        }
    }

    /// The texts that it is or has in it, in their order.
    pub(super) fn texts(&self) -> Vec<&[u8]> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Text(text) => vec![text],
            Self::Texts(texts) => texts.iter().map(Vec::as_slice).collect(),
            Self::Parts(parts) => parts.iter().flat_map(Self::texts).collect(),
        }
    }

    /// The first of them.
    pub(super) fn first_text(&self) -> Option<&[u8]> {
        self.texts().into_iter().next()
    }

    /// The paths that it is or begins with: what is to be built has outputs behind an exclamation mark.
    pub(super) fn mentioned(&self) -> Vec<StorePath> {
        let texts = match self {
            Self::Text(text) => std::slice::from_ref(text),
            Self::Texts(texts) => texts.as_slice(),
            _ => &[],
        };
        texts.iter().filter_map(|text| path(text.split(|byte| *byte == b'!').next()?)).collect()
    }
}

/// A derivation that is to be built, with the outputs that are wanted of it; no names mean all of them.
pub(super) fn wanted(text: &[u8]) -> Option<(StorePath, Vec<String>)> {
    let text = std::str::from_utf8(text).ok()?;
    let (path, outputs) = text.split_once('!')?;
    let derivation = StorePath::from_absolute(path).ok().filter(StorePath::is_derivation)?;
    let outputs = if outputs == "*" { Vec::new() } else { outputs.split(',').map(str::to_owned).collect() };
    Some((derivation, outputs))
}

/// A path of the store.
pub(super) fn path(text: &[u8]) -> Option<StorePath> {
    StorePath::from_absolute(std::str::from_utf8(text).ok()?).ok()
}
