use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Writes each event as one line, so that no value shown in it can pretend to be a further event.
pub(crate) struct OneLine<W>(pub(crate) W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for OneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

/// The formatter hands over a whole event, with its final newline, in one call.
impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = event.strip_suffix(b"\n").unwrap_or(event);
        if line.iter().any(|byte| is_break(*byte)) {
            let mut line: Vec<u8> = line.iter().map(|byte| if is_break(*byte) { b' ' } else { *byte }).collect();
            line.extend_from_slice(&event[line.len()..]);
            self.0.write_all(&line)?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

const fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}
