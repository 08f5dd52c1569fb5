//! A request of many at the same time.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends a whole request on a connection of its own, and expects that there is nothing to say about it.
pub(super) async fn send(address: &str, request: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let mut answer = Vec::with_capacity(1 << 10);
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            bail!("the server closed the connection");
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).context("no status")?;
    if status == "204" { Ok(()) } else { bail!("{text}") }
}
