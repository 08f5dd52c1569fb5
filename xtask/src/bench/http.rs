//! A client that does as little as possible, so that what is measured is the server: HTTP/1.1 on one kept-alive connection,
//! answers with a `Content-Length`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// No answer takes longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// An open connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer; its body is in the connection's buffer until the next request.
pub(crate) struct Answer<'c> {
    pub(crate) status: u16,
    pub(crate) body: &'c [u8],
}

impl Connection {
    pub(crate) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a whole request and reads the whole answer.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let head = loop {
            self.fill()?;
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let (status, length) = read_head(self.buffer.get(..head).unwrap_or_default())?;
        while self.buffer.len() < head + length {
            self.fill()?;
        }
        Ok(Answer { status, body: self.buffer.get(head..head + length).unwrap_or_default() })
    }

    fn fill(&mut self) -> Result<()> {
        let begin = self.buffer.len();
        self.buffer.resize(begin + (64 << 10), 0);
        let read = self.stream.read(self.buffer.get_mut(begin..).unwrap_or_default())?;
        self.buffer.truncate(begin + read);
        if read == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

/// A `GET` with further headers, each line ended.
pub(crate) fn get(address: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n").into()
}

/// A `PUT` with a bearer token and further headers, each line ended.
pub(crate) fn put(address: &str, path: &str, token: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n{headers}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The status, and the length of the body.
fn read_head(head: &[u8]) -> Result<(u16, usize)> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status in `{status_line}`"))?;
    let fields = lines.filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match lengths.next() {
        Some((_, length)) => Ok((status, length.trim().parse()?)),
        None if status == 204 => Ok((status, 0)),
        None => bail!("an answer without a length: {head}"),
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::read_head;

    #[test]
    fn heads_are_read() {
        assert_eq!(read_head(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n").unwrap(), (200, 12));
        assert_eq!(read_head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), (204, 0));
        assert!(read_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(read_head(b"garbage\r\n\r\n").is_err());
    }
}
