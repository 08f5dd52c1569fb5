use gradient_domain::{BuildId, Epoch};
use gradient_storage::{Conn, attempts, builds};

use crate::{Engine, EngineError};

/// Bytes read at a time, and so the longest line that is passed on as one.
const STEP: usize = 64 << 10;

/// How far a build's log has been read.
#[derive(Debug)]
pub(super) struct Cursor {
    build: BuildId,
    attempt: Epoch,
    offset: u64,
}

/// Where a log that grows is cut.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// Behind a character.
    Characters,
    /// Behind a line, or behind a character when a line is longer than what is read at a time.
    Lines,
}

/// What was read of a log.
#[derive(Debug)]
pub(super) struct Step {
    /// The bytes; none when there is nothing more now.
    pub(super) bytes: Vec<u8>,
    /// Whether the build had ended before: then nothing will come after nothing.
    pub(super) ended: bool,
}

impl Cursor {
    pub(super) const fn new(build: BuildId) -> Self {
        Self { build, attempt: Epoch::NONE, offset: 0 }
    }

    pub(super) const fn build(&self) -> BuildId {
        self.build
    }

    /// Reads on.
    pub(super) async fn advance(&mut self, engine: &Engine, cut: Cut) -> Result<Step, EngineError> {
        loop {
            let (build, attempt) = (self.build, self.attempt);
            let (ended, current, next) = engine
                .storage()
                .read(async move |conn: &mut Conn| {
                    let ended = builds::has_ended(conn, build).await?;
                    let current =
                        if attempt == Epoch::NONE { None } else { attempts::lookup(conn, build, Some(attempt)).await? };
                    Ok((ended, current, attempts::next(conn, build, attempt).await?))
                })
                .await?;
            if let Some(current) = current {
                // Asked before the log is read: all of an attempt that has ended is there.
                let is_whole = ended || next.is_some() || current.finished_at.is_some();
                let mut bytes = engine.attempt_log(&current, self.offset, STEP as u64).await?.bytes;
                let end = if is_whole && bytes.len() < STEP { bytes.len() } else { cut.end(&bytes) };
                bytes.truncate(end);
                self.offset = self.offset.saturating_add(u64::try_from(end).unwrap_or(0));
                if !bytes.is_empty() || !is_whole {
                    return Ok(Step { bytes, ended });
                }
            }
            match next {
                Some(next) => (self.attempt, self.offset) = (next.epoch, 0),
                None => return Ok(Step { bytes: Vec::new(), ended }),
            }
        }
    }
}

impl Cut {
    /// How much of `bytes` is passed on while more may come.
    fn end(self, bytes: &[u8]) -> usize {
        match self {
            Self::Characters => whole_characters(bytes),
            Self::Lines => match bytes.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => end + 1,
                None if bytes.len() >= STEP => whole_characters(bytes),
                None => 0,
            },
        }
    }
}

/// Where the last character ends that is whole. What is no UTF-8 counts as whole: nothing that comes makes it a character.
fn whole_characters(bytes: &[u8]) -> usize {
    for (behind, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let is_begun = length > behind + 1;
        return if is_begun { bytes.len() - behind - 1 } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_cut() {
        let text = "aé€\u{10348}z";
        for end in 0..=text.len() {
            let whole = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            assert_eq!(whole_characters(&text.as_bytes()[..end]), whole, "{end}");
        }
        for nonsense in [&b"a\xff"[..], b"\x80\x80\x80\x80", b"\xe2a", b"\xc0", b"\xc3\xa9\x80"] {
            assert_eq!(whole_characters(nonsense), nonsense.len(), "{nonsense:?}");
        }
    }

    #[test]
    fn a_line_waits_for_its_end() {
        assert_eq!(Cut::Lines.end(b"one\ntwo\nthr"), 8);
        assert_eq!(Cut::Lines.end(b"thr"), 0);
        assert_eq!(Cut::Lines.end(&vec![b'x'; STEP]), STEP, "one that is too long does not");
        let mut long = vec![b'x'; STEP - 1];
        long.push(0xe2);
        assert_eq!(Cut::Lines.end(&long), STEP - 1);
    }
}
