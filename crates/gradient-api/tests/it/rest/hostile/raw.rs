//! Requests byte by byte, as no well-behaved client would send them.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::server::Server;

/// The server has to say something, or close, within this time.
const LIMIT: Duration = Duration::from_secs(20);

/// What came back before the connection was closed.
#[derive(Debug)]
pub(super) struct Raw {
    /// `None` when the server closed without a word.
    pub(super) status: Option<u16>,
    pub(super) text: String,
}

pub(super) async fn connect(server: &Server) -> TcpStream {
    let address = server.url.trim_start_matches("http://");
    TcpStream::connect(address).await.unwrap()
}

/// Sends these bytes, and reads one whole answer, or until the server closes the connection.
pub(super) async fn send(server: &Server, bytes: &[u8]) -> Raw {
    exchange(server, bytes, is_whole).await
}

/// Sends these bytes, and reads until the server closes the connection.
pub(super) async fn send_until_closed(server: &Server, bytes: &[u8]) -> Raw {
    exchange(server, bytes, |_| false).await
}

async fn exchange(server: &Server, bytes: &[u8], is_enough: impl Fn(&str) -> bool) -> Raw {
    let mut stream = connect(server).await;
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let read = tokio::time::timeout(LIMIT, stream.read(&mut buffer)).await;
        let sent = || String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        match read.unwrap_or_else(|_| panic!("the server neither answers nor closes after {}", sent())) {
            // A connection that is reset has ended too.
            Ok(0) | Err(_) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
        }
        if is_enough(&String::from_utf8_lossy(&answer)) {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    Raw { status: text.split(' ').nth(1).and_then(|status| status.parse().ok()), text }
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

/// A request on a connection of its own, with a path that is sent as it is.
pub(super) async fn request(server: &Server, method: &str, path: &str, token: &str, body: &[u8]) -> Raw {
    let head = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    send(server, &[head.as_bytes(), body].concat()).await
}
