//! Cuts what goes over a connection into pieces: the head of an HTTP message, then WebSocket frames when it became one, and else
//! the bytes as they come.

/// The longest head of an HTTP message; what is longer is none.
const MAX_HEAD: usize = 64 << 10;

/// A piece that is sent at once, or twice, or later, and never in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// Whether it is a whole message of the worker protocol.
    pub(super) is_message: bool,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    buffer: Vec<u8>,
    content: Content,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Content {
    #[default]
    Head,
    Frames,
    Bytes,
}

impl Pieces {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole piece.
    pub(super) fn next(&mut self) -> Option<Piece> {
        let (length, is_message) = match self.content {
            Content::Head => (self.head()?, false),
            Content::Frames => frame(&self.buffer)?,
            Content::Bytes => (self.buffer.len(), false),
        };
        if length == 0 || length > self.buffer.len() {
            return None;
        }
        let rest = self.buffer.split_off(length);
        Some(Piece { bytes: std::mem::replace(&mut self.buffer, rest), is_message })
    }

    fn head(&mut self) -> Option<usize> {
        let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            if self.buffer.len() < MAX_HEAD {
                return None;
            }
            self.content = Content::Bytes;
            return Some(self.buffer.len());
        };
        let head = String::from_utf8_lossy(self.buffer.get(..end).unwrap_or_default()).to_ascii_lowercase();
        let is_socket = head.lines().any(|line| line.starts_with("upgrade:") && line.contains("websocket"));
        self.content = if is_socket { Content::Frames } else { Content::Bytes };
        Some(end + 4)
    }
}

/// The length of the frame at the beginning, and whether it is a whole message.
fn frame(bytes: &[u8]) -> Option<(usize, bool)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (head, payload) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let is_whole = first & 0x80 != 0 && matches!(first & 0x0f, 1 | 2);
    Some((head + mask + payload, is_whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &mut Pieces, bytes: &[u8]) -> Vec<(usize, bool)> {
        let mut found = Vec::new();
        for byte in bytes {
            pieces.add(&[*byte]);
            while let Some(piece) = pieces.next() {
                found.push((piece.bytes.len(), piece.is_message));
            }
        }
        found
    }

    #[test]
    fn a_socket_is_cut_into_frames() {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n";
        let small = [0x82, 3, 1, 2, 3];
        let masked = [0x82, 0x81, 9, 9, 9, 9, 1];
        let ping = [0x89, 0];
        let beginning = [0x02, 1, 0];
        let large = [[0x82, 126, 1, 0].as_slice(), &[7; 256]].concat();
        let bytes = [head.as_slice(), &small, &masked, &ping, &beginning, &large].concat();
        let expected = [(head.len(), false), (5, true), (7, true), (2, false), (3, false), (260, true)];
        assert_eq!(all(&mut Pieces::default(), &bytes), expected);
    }

    #[test]
    fn anything_else_is_passed_on_as_it_comes() {
        let mut pieces = Pieces::default();
        assert_eq!(all(&mut pieces, b"PUT / HTTP/1.1\r\n\r\n"), [(18, false)]);
        pieces.add(b"\x82\x03abcdef");
        assert_eq!(pieces.next().unwrap().bytes.len(), 8);
    }
}
