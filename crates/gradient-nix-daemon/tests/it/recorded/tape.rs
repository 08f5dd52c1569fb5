//! What both sides of a connection say, in order, as text that a diff can show.
//!
//! `#` begins a step, `>` is the client, `<` the daemon, and `=` what the client makes of it. A line holds values as they go over
//! the wire: a number, `"a string"` with its length and padding, one of the protocol's words by its name, or `x61` for bytes that
//! are none of those. What the bytes mean is not looked at, so that text and bytes are the same in both directions.

use std::{
    fmt::Write as _,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The numbers that have a name here.
const WORDS: &[(&str, u64)] = &[
    ("client", 0x6e69_7863),
    ("daemon", 0x6478_696f),
    ("next", 0x6f6c_6d67),
    ("last", 0x616c_7473),
    ("error", 0x6378_7470),
    ("start", 0x5354_5254),
    ("stop", 0x5354_4f50),
    ("result", 0x5253_4c54),
];

/// One value on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Text(Vec<u8>),
    Raw(Vec<u8>),
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Step(String),
    Client(Vec<u8>),
    Daemon(Vec<u8>),
    Outcome(String),
}

/// Runs while a conversation is held.
#[derive(Debug, Clone, Default)]
pub(super) struct Tape(Arc<Mutex<Vec<Entry>>>);

impl Tape {
    /// Adds what happened; what one side says in pieces is one entry.
    pub(super) fn push(&self, entry: Entry) {
        let mut entries = self.0.lock().unwrap();
        match (entries.last_mut(), entry) {
            (Some(Entry::Client(said)), Entry::Client(more)) | (Some(Entry::Daemon(said)), Entry::Daemon(more)) => {
                said.extend(more);
            }
            (_, entry) => entries.push(entry),
        }
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap().clone()
    }

    /// A stream from the daemon, or to it, that the tape hears.
    pub(super) fn hears<S>(&self, stream: S) -> Heard<S> {
        Heard { stream, tape: self.clone() }
    }
}

/// A stream that a tape hears.
pub(super) struct Heard<S> {
    stream: S,
    tape: Tape,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if !read.is_empty() {
            self.tape.push(Entry::Daemon(read.to_vec()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.tape.push(Entry::Client(bytes[..written].to_vec()));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The text of a tape.
pub(super) fn render(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        match entry {
            Entry::Step(name) => writeln!(text, "\n# {name}").unwrap(),
            Entry::Outcome(outcome) => writeln!(text, "= {outcome}").unwrap(),
            Entry::Client(said) => lines(&mut text, '>', said),
            Entry::Daemon(said) => lines(&mut text, '<', said),
        }
    }
    text
}

/// A line for each message, which begins with one of the protocol's words.
fn lines(text: &mut String, side: char, said: &[u8]) {
    let mut line_is_new = true;
    text.push(side);
    for value in values(said) {
        let word = WORDS.iter().find(|(_, number)| value == Value::Number(*number));
        if word.is_some() && !line_is_new {
            write!(text, "\n{side}").unwrap();
        }
        line_is_new = false;
        match (word, value) {
            (Some((word, _)), _) => write!(text, " {word}").unwrap(),
            (None, Value::Number(number)) => write!(text, " {number}").unwrap(),
            (None, Value::Text(bytes)) => write!(text, " \"{}\"", bytes.escape_ascii()).unwrap(),
            (None, Value::Raw(bytes)) => {
                text.push_str(" x");
                for byte in bytes {
                    write!(text, "{byte:02x}").unwrap();
                }
            }
        }
    }
    text.push('\n');
}

/// Reads what [`render`] has written.
pub(super) fn parse(text: &str) -> Vec<Entry> {
    let tape = Tape::default();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (side, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        tape.push(match side {
            "#" => Entry::Step(rest.into()),
            "=" => Entry::Outcome(rest.into()),
            ">" => Entry::Client(bytes(&parse_values(rest))),
            "<" => Entry::Daemon(bytes(&parse_values(rest))),
            _ => panic!("{line}"),
        });
    }
    tape.entries()
}

fn parse_values(mut line: &str) -> Vec<Value> {
    let mut values = Vec::new();
    while !line.is_empty() {
        let (value, rest) = if let Some(text) = line.strip_prefix('"') {
            parse_text(text)
        } else {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            (parse_word(word), rest)
        };
        values.push(value);
        line = rest.trim_start();
    }
    values
}

fn parse_word(word: &str) -> Value {
    if let Some((_, number)) = WORDS.iter().find(|(name, _)| *name == word) {
        return Value::Number(*number);
    }
    match word.strip_prefix('x') {
        Some(digits) => Value::Raw(digits.as_bytes().chunks(2).map(|pair| hex(str::from_utf8(pair).unwrap())).collect()),
        None => Value::Number(word.parse().unwrap_or_else(|_| panic!("{word}"))),
    }
}

/// The string that ends with the next quotation mark, and what follows.
fn parse_text(mut text: &str) -> (Value, &str) {
    let mut bytes = Vec::new();
    loop {
        let (plain, rest) = text.split_at(text.find(['"', '\\']).unwrap());
        bytes.extend_from_slice(plain.as_bytes());
        if let Some(rest) = rest.strip_prefix('"') {
            return (Value::Text(bytes), rest);
        }
        let escaped = rest.as_bytes()[1];
        let length = if escaped == b'x' { 4 } else { 2 };
        bytes.push(match escaped {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'x' => hex(&rest[2..4]),
            itself => itself,
        });
        text = &rest[length..];
    }
}

fn hex(digits: &str) -> u8 {
    u8::from_str_radix(digits, 16).unwrap()
}

/// Takes bytes apart into what looks like strings, and numbers.
pub(super) fn values(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while let Some((word, rest)) = bytes.split_first_chunk::<8>() {
        let number = u64::from_le_bytes(*word);
        let (value, rest) = match usize::try_from(number).ok().and_then(|length| text(rest, length)) {
            Some((text, rest)) => (Value::Text(text.to_vec()), rest),
            None => (Value::Number(number), rest),
        };
        values.push(value);
        bytes = rest;
    }
    if !bytes.is_empty() {
        values.push(Value::Raw(bytes.to_vec()));
    }
    values
}

fn text(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let padded = length.checked_next_multiple_of(8)?;
    let (text, padding) = bytes.get(..padded)?.split_at(length);
    let is_text = |byte: &u8| byte.is_ascii_graphic() || b" \n\t\r\x1b".contains(byte) || *byte >= 0x80;
    // A 1 before the length of a string, or before other numbers, is no string of one letter.
    let is_number = length == 1 && (!b"()".contains(&text[0]) || self::text(&bytes[8..], text[0].into()).is_some());
    let is_one = length > 0 && !is_number && text.iter().all(is_text) && padding.iter().all(|byte| *byte == 0);
    is_one.then(|| (text, &bytes[padded..]))
}

/// Puts values together again.
pub(super) fn bytes(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        match value {
            Value::Number(number) => bytes.extend(number.to_le_bytes()),
            Value::Text(text) => {
                bytes.extend(u64::try_from(text.len()).unwrap().to_le_bytes());
                bytes.extend(text);
                bytes.resize(bytes.len().next_multiple_of(8), 0);
            }
            Value::Raw(raw) => bytes.extend(raw),
        }
    }
    bytes
}

#[test]
fn text_and_bytes_are_the_same() {
    let said = bytes(&[
        Value::Number(7),
        Value::Text(b"a \"quoted\" \\ line\n\x1b[31m\xc3\xa4".to_vec()),
        Value::Number(0x616c_7473),
        Value::Number(u64::MAX),
        Value::Raw(b"\x01\xfe".to_vec()),
    ]);
    let entries =
        [Entry::Step("one step".into()), Entry::Client(said.clone()), Entry::Daemon(said), Entry::Outcome("well".into())];
    assert_eq!(parse(&render(&entries)), entries);
}
