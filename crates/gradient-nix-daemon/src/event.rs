//! What the daemon says while an operation runs.

use crate::{
    Error,
    wire::{ListRoom, Reader},
};

/// Something the daemon says while an operation runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line that the builder printed, without its end.
    LogLine(Vec<u8>),
    /// The builder entered a phase.
    Phase(String),
    /// How far an activity is.
    Progress {
        /// Which activity.
        activity: u64,
        /// Units that are done.
        done: u64,
        /// Units in all.
        expected: u64,
    },
    /// An activity began.
    Started {
        /// Its number on this connection.
        activity: u64,
        /// Its kind in Nix's numbering; [`Event::BUILD`] is one build.
        kind: u64,
        /// What it does, for a person.
        text: String,
    },
    /// An activity ended.
    Stopped {
        /// Its number on this connection.
        activity: u64,
    },
    /// The daemon's own words: warnings and notes, without colours.
    Message(String),
}

impl Event {
    /// The kind of activity that is one build.
    pub const BUILD: u64 = 105;
}

pub(crate) const NEXT: u64 = 0x6f6c_6d67;
pub(crate) const LAST: u64 = 0x616c_7473;
pub(crate) const ERROR: u64 = 0x6378_7470;
pub(crate) const START_ACTIVITY: u64 = 0x5354_5254;
pub(crate) const STOP_ACTIVITY: u64 = 0x5354_4f50;
pub(crate) const RESULT: u64 = 0x5253_4c54;

pub(crate) const BUILD_LOG_LINE: u64 = 101;
const SET_PHASE: u64 = 104;
const PROGRESS: u64 = 105;
pub(crate) const POST_BUILD_LOG_LINE: u64 = 107;

/// A field of an activity or result.
enum Field {
    Number(u64),
    Text(Vec<u8>),
}

/// Reads on until the next event that has a meaning here; `None` is the end of the operation's messages.
pub(crate) async fn next(reader: &mut Reader) -> Result<Option<Event>, Error> {
    loop {
        return Ok(Some(match reader.number().await? {
            LAST => return Ok(None),
            ERROR => return Err(error(reader).await?),
            NEXT => Event::Message(without_colours(&reader.text().await?)),
            START_ACTIVITY => started(reader).await?,
            STOP_ACTIVITY => Event::Stopped { activity: reader.number().await? },
            RESULT => match result(reader).await? {
                Some(event) => event,
                None => continue,
            },
            _ => return Err(Error::Malformed("a message")),
        }));
    }
}

async fn started(reader: &mut Reader) -> Result<Event, Error> {
    let activity = reader.number().await?;
    let _level = reader.number().await?;
    let kind = reader.number().await?;
    let text = without_colours(&reader.text().await?);
    fields(reader).await?;
    let _parent = reader.number().await?;
    Ok(Event::Started { activity, kind, text })
}

async fn result(reader: &mut Reader) -> Result<Option<Event>, Error> {
    let activity = reader.number().await?;
    let kind = reader.number().await?;
    let mut fields = fields(reader).await?.into_iter();
    Ok(match (kind, fields.next(), fields.next()) {
        (BUILD_LOG_LINE | POST_BUILD_LOG_LINE, Some(Field::Text(line)), _) => Some(Event::LogLine(line)),
        (SET_PHASE, Some(Field::Text(phase)), _) => Some(Event::Phase(String::from_utf8_lossy(&phase).into_owned())),
        (PROGRESS, Some(Field::Number(done)), Some(Field::Number(expected))) => {
            Some(Event::Progress { activity, done, expected })
        }
        _ => None,
    })
}

async fn fields(reader: &mut Reader) -> Result<Vec<Field>, Error> {
    let mut fields = Vec::new();
    let mut room = ListRoom::default();
    for _ in 0..reader.count().await? {
        fields.push(match reader.number().await? {
            0 => Field::Number(reader.number().await?),
            1 => Field::Text(reader.bytes_of_list(&mut room).await?),
            _ => return Err(Error::Malformed("a field")),
        });
    }
    Ok(fields)
}

/// The daemon's error; its traces are where in Nix's own code, or in an expression, it came from.
async fn error(reader: &mut Reader) -> Result<Error, Error> {
    if reader.text().await? != "Error" {
        return Err(Error::Malformed("an error"));
    }
    let _level = reader.number().await?;
    let _name = reader.text().await?;
    let message = reader.text().await?;
    if reader.flag().await? {
        return Err(Error::Malformed("an error"));
    }
    for _ in 0..reader.count().await? {
        if reader.flag().await? {
            return Err(Error::Malformed("an error"));
        }
        reader.text().await?;
    }
    Ok(Error::Refused(without_colours(&message)))
}

/// The text without terminal escape sequences.
pub(crate) fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\u{1b}' {
            plain.push(char);
        } else if chars.next() == Some('[') {
            // A control sequence ends with its first letter or other byte from `@` on.
            chars.by_ref().find(|char| ('@'..='~').contains(char));
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go() {
        assert_eq!(without_colours("\u{1b}[31;1merror:\u{1b}[0m it \u{1b}[35;1m'broke'\u{1b}[0m"), "error: it 'broke'");
        assert_eq!(without_colours("plain \u{1b}"), "plain ");
    }
}
