//! The peers file: whom a worker serves, and what proves that it may. One `<peer id>:<token>` a line; `*:<token>` answers any
//! peer; empty lines and lines that begin with `#` are nothing.

use std::{fs, io, path::PathBuf, str::FromStr};

use gradient_protocol::{PeerSelector, PeerToken};
use thiserror::Error;

/// How many characters a token has.
const TOKEN_LENGTH: usize = 64;

/// The largest peers file: what fits the first message.
const MAX_BYTES: u64 = 128 << 10;

/// The peers of a worker with their tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Peers(Vec<PeerToken>);

/// A peers file that cannot be used. No message shows a token.
#[derive(Debug, Error)]
pub enum PeersError {
    /// It cannot be read.
    #[error("cannot read the peers file {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is larger than any peers file can be.
    #[error("the peers file is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// There is nobody in it.
    #[error("there is no peer in it: expected lines of the form <peer id>:<token> or *:<token>")]
    Empty,
    /// A line has no colon.
    #[error("line {0}: expected <peer id>:<token> or *:<token>")]
    Form(usize),
    /// What is before the colon names no peer.
    #[error("line {0}: a peer id is a UUID or *")]
    Peer(usize),
    /// What is behind the colon has the wrong length.
    #[error("line {line}: a token has exactly {TOKEN_LENGTH} characters of standard base64, this one has {length}")]
    TokenLength {
        /// Which line, from 1.
        line: usize,
        /// How many characters there are.
        length: usize,
    },
    /// What is behind the colon is not base64.
    #[error("line {0}: a token has exactly {TOKEN_LENGTH} characters of standard base64, this one has others in it")]
    TokenCharacter(usize),
}

impl Peers {
    /// What is sent to the server.
    pub fn tokens(&self) -> &[PeerToken] {
        &self.0
    }
}

impl FromStr for Peers {
    type Err = PeersError;

    fn from_str(text: &str) -> Result<Self, PeersError> {
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let peers = lines.map(|(index, line)| peer(index + 1, line)).collect::<Result<Vec<_>, _>>()?;
        if peers.is_empty() { Err(PeersError::Empty) } else { Ok(Self(peers)) }
    }
}

fn peer(number: usize, line: &str) -> Result<PeerToken, PeersError> {
    let (peer, token) = line.split_once(':').ok_or(PeersError::Form(number))?;
    let (peer, token) = (peer.trim(), token.trim());
    let peer = match peer {
        "*" => PeerSelector::Any,
        id => PeerSelector::Organization(id.parse().map_err(|_| PeersError::Peer(number))?),
    };
    let length = token.chars().count();
    if length != TOKEN_LENGTH {
        return Err(PeersError::TokenLength { line: number, length });
    }
    // 48 bytes need no padding.
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')) {
        return Err(PeersError::TokenCharacter(number));
    }
    Ok(PeerToken { peer, token: token.to_owned() })
}

/// Where the peers come from; read anew for each connection.
#[derive(Debug, Clone)]
pub struct PeersFile {
    path: PathBuf,
}

impl PeersFile {
    /// The file at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads it. Blocks for as long as reading a small file does.
    pub fn read(&self) -> Result<Peers, PeersError> {
        let failed = |source| PeersError::Read { path: self.path.clone(), source };
        if fs::metadata(&self.path).map_err(failed)?.len() > MAX_BYTES {
            return Err(PeersError::TooLarge);
        }
        fs::read_to_string(&self.path).map_err(failed)?.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "0198f2a0-0000-7000-8000-000000000001";

    fn check(text: &str, expected: &str) {
        assert_eq!(text.parse::<Peers>().unwrap_err().to_string(), expected, "{text:?}");
    }

    #[test]
    fn peers_are_read_in_order() {
        let token = "Ab3+".repeat(16);
        let text = format!("# whom we serve\n\n {PEER} : {token} \n*:{token}\n");
        let peers: Peers = text.parse().unwrap();
        let selectors: Vec<_> = peers.tokens().iter().map(|token| token.peer).collect();
        assert_eq!(selectors, [PeerSelector::Organization(PEER.parse().unwrap()), PeerSelector::Any]);
        assert_eq!(peers.tokens()[0].token, token);
    }

    #[test]
    fn what_is_wrong_names_its_line_and_no_token() {
        let token = "Ab3+".repeat(16);
        check("", "there is no peer in it: expected lines of the form <peer id>:<token> or *:<token>");
        check("# nothing\n", "there is no peer in it: expected lines of the form <peer id>:<token> or *:<token>");
        check("# x\n\nabc", "line 3: expected <peer id>:<token> or *:<token>");
        check(&format!("acme:{token}"), "line 1: a peer id is a UUID or *");
        check("*:abc", "line 1: a token has exactly 64 characters of standard base64, this one has 3");
        check(
            &format!("*:{}", "Ab3=".repeat(16)),
            "line 1: a token has exactly 64 characters of standard base64, this one has others in it",
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = PeersFile::new("/nowhere/peers".into()).read().unwrap_err().to_string();
        assert!(error.starts_with("cannot read the peers file /nowhere/peers: "), "{error}");
    }
}
