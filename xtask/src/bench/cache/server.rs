//! Who is measured.

use anyhow::{Context, Result, bail};

use crate::bench::http::{self, Connection};
use crate::bench::proc;

/// A server that has the store paths.
#[derive(Debug)]
pub(super) struct Server {
    name: String,
    address: String,
    prefix: String,
    authorization: Option<String>,
}

/// What a server says of one of the store paths.
#[derive(Debug)]
pub(super) struct Narinfo {
    pub(super) text: String,
    /// Where the NAR is, from the server's URL on.
    pub(super) nar: String,
}

impl Server {
    /// At an URL without TLS, such as `http://127.0.0.1:8080/cache/acme`.
    pub(super) fn at(name: &str, url: &str, authorization: Option<String>) -> Result<Self> {
        let rest = url.strip_prefix("http://").with_context(|| format!("{url} does not begin with http://"))?;
        let (address, prefix) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let address = if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
        Ok(Self { name: name.to_owned(), address, prefix: prefix.trim_end_matches('/').to_owned(), authorization })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Those that listen at its port.
    pub(super) fn processes(&self) -> Result<Vec<u32>> {
        let port = self.address.rsplit(':').next().and_then(|port| port.parse().ok());
        proc::listening_at(port.with_context(|| format!("{} has no port", self.address))?)
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        Connection::open(&self.address)
    }

    pub(super) fn get(&self, connection: &mut Connection, path: &str) -> Result<Vec<u8>> {
        let authorization = self.authorization.as_ref().map(|value| format!("authorization: {value}\r\n")).unwrap_or_default();
        let request = http::get(&self.address, &format!("{}{path}", self.prefix), &authorization);
        let answer = connection.exchange(&request)?;
        if answer.status != 200 {
            bail!("{}: {path}: {} {}", self.name, answer.status, String::from_utf8_lossy(answer.body));
        }
        Ok(answer.body.to_vec())
    }

    pub(super) fn narinfo(&self, connection: &mut Connection, hash: &str) -> Result<Narinfo> {
        let text = String::from_utf8(self.get(connection, &format!("/{hash}.narinfo"))?)?;
        let nar = text.lines().find_map(|line| line.strip_prefix("URL: ")).context("a narinfo without a URL")?;
        let nar = format!("/{}", nar.trim_start_matches('/'));
        Ok(Narinfo { text, nar })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_is_taken_apart() {
        let server = Server::at("x", "http://127.0.0.1:8080/cache/acme/", None).unwrap();
        assert_eq!((server.address(), server.prefix()), ("127.0.0.1:8080", "/cache/acme"));
        let server = Server::at("x", "http://localhost", None).unwrap();
        assert_eq!((server.address(), server.prefix()), ("localhost:80", ""));
        assert!(Server::at("x", "https://localhost", None).is_err());
    }
}
