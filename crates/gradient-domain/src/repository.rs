//! Where a git repository is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use url::{Host, Url};

/// The longest URL that is taken, in bytes.
const MAX_LENGTH: usize = 2048;

/// A git repository's place: `https`, `http`, `ssh` and `git` URLs, their `git+` forms, and the form of `scp`
/// (`git@example.com:owner/name`). `file:` URLs and absolute paths parse as [`RepositoryKind::Local`], which most callers refuse.
///
/// `Display`, `Debug` and JSON leave out credentials; [`as_str`](Self::as_str) and [`to_git`](Self::to_git) have them.
/// Neither its host nor its path begins with `-`, so that no program takes it for an option.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "sql", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
#[cfg_attr(feature = "sql", diesel(sql_type = crate::sql::Word))]
pub struct RepositoryUrl {
    text: String,
    place: Place,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Place {
    Url(RepositoryKind, Url),
    /// The text `user@host:path` is git's; the URL says the same.
    Scp(String, Url),
    /// An absolute path.
    Local(String),
}

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RepositoryKind {
    /// Over TLS.
    Https,
    /// In the clear.
    Http,
    /// With the organization's SSH key.
    Ssh,
    /// Git's own protocol, in the clear.
    Git,
    /// On the server's own disk.
    Local,
}

/// A text that is no repository that can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RepositoryUrlError {
    /// Nothing, or more than 2048 bytes.
    #[error("a repository URL must have 1 to 2048 characters")]
    Length,
    /// White space, control characters or backslashes.
    #[error("a repository URL must not have white space, control characters or backslashes")]
    Character,
    /// Not of a form that is known.
    #[error("expected an https, http, ssh or git URL, or the form git@host:path")]
    Form,
    /// A host that is missing or is none.
    #[error("the repository URL has no valid host")]
    Host,
    /// The URL names a host only.
    #[error("the repository URL has no path")]
    Path,
    /// A user, host or path that a program could take for an option.
    #[error("no part of a repository URL may begin with `-`")]
    Option,
    /// Branches and commits have fields of their own.
    #[error("a repository URL must not have a query or a fragment; a branch has a field of its own")]
    Query,
}

impl RepositoryUrl {
    /// How it is reached.
    pub const fn kind(&self) -> RepositoryKind {
        match &self.place {
            Place::Url(kind, _) => *kind,
            Place::Scp(..) => RepositoryKind::Ssh,
            Place::Local(_) => RepositoryKind::Local,
        }
    }

    /// Whether it is on the server's own disk.
    pub const fn is_local(&self) -> bool {
        matches!(self.place, Place::Local(_))
    }

    /// The text it was made from, credentials included: for storing it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host it is on, without port; an IPv6 address without brackets. `None` when it is local.
    pub fn host(&self) -> Option<&str> {
        self.url()?.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']'))
    }

    /// The port it says, or that of its protocol. `None` when it is local.
    pub fn port(&self) -> Option<u16> {
        let default = match self.kind() {
            RepositoryKind::Https => 443,
            RepositoryKind::Http => 80,
            RepositoryKind::Ssh => 22,
            RepositoryKind::Git => 9418,
            RepositoryKind::Local => return None,
        };
        self.url().map(|url| url.port().unwrap_or(default))
    }

    /// What `git` takes on its command line, credentials included.
    pub fn to_git(&self) -> String {
        match &self.place {
            Place::Url(_, url) => url.to_string(),
            Place::Scp(text, _) | Place::Local(text) => text.clone(),
        }
    }

    /// The user name and password in an `http`, `https` or `git` URL, and the password in an `ssh` one, as they are written
    /// there: what messages from other programs must not repeat.
    pub fn credentials(&self) -> Vec<&str> {
        let Some(url) = self.url() else { return Vec::new() };
        let user = (self.kind() != RepositoryKind::Ssh).then(|| url.username());
        user.into_iter().chain(url.password()).filter(|secret| !secret.is_empty()).collect()
    }

    /// The flake reference `git+…?ref=…&rev=…` that Nix takes, credentials included. `rev` is 40 hexadecimal digits.
    pub fn to_nix_flake_url(&self, reference: Option<&str>, rev: Option<&str>) -> String {
        let mut url = match &self.place {
            Place::Url(_, url) | Place::Scp(_, url) => url.clone(),
            Place::Local(path) => local_url(path),
        };
        if reference.is_some() || rev.is_some() {
            let pairs = [("ref", reference), ("rev", rev)];
            url.query_pairs_mut().extend_pairs(pairs.into_iter().filter_map(|(key, value)| Some((key, value?))));
        }
        format!("git+{url}")
    }

    const fn url(&self) -> Option<&Url> {
        match &self.place {
            Place::Url(_, url) | Place::Scp(_, url) => Some(url),
            Place::Local(_) => None,
        }
    }
}

impl FromStr for RepositoryUrl {
    type Err = RepositoryUrlError;

    fn from_str(text: &str) -> Result<Self, RepositoryUrlError> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(RepositoryUrlError::Length);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(RepositoryUrlError::Character);
        }
        let git = text.strip_prefix("git+").unwrap_or(text);
        let place = if git.starts_with('/') {
            Place::Local(git.to_owned())
        } else if git.starts_with("file:") {
            Place::Local(local_path(git)?)
        } else if git.contains("://") {
            remote(git)?
        } else {
            scp(git)?
        };
        Ok(Self { text: text.to_owned(), place })
    }
}

fn remote(text: &str) -> Result<Place, RepositoryUrlError> {
    let url = Url::parse(text).map_err(|error| match error {
        url::ParseError::EmptyHost | url::ParseError::IdnaError | url::ParseError::InvalidIpv4Address => RepositoryUrlError::Host,
        _ => RepositoryUrlError::Form,
    })?;
    let kind = match url.scheme() {
        "https" => RepositoryKind::Https,
        "http" => RepositoryKind::Http,
        "ssh" => RepositoryKind::Ssh,
        "git" => RepositoryKind::Git,
        _ => return Err(RepositoryUrlError::Form),
    };
    check(&url)?;
    Ok(Place::Url(kind, url))
}

fn scp(text: &str) -> Result<Place, RepositoryUrlError> {
    let (authority, path) = text.split_once(':').ok_or(RepositoryUrlError::Form)?;
    if path.starts_with(':') || authority.contains(['/', '[', ']']) || path.contains(['?', '#']) {
        return Err(RepositoryUrlError::Form);
    }
    let url = Url::parse(&format!("ssh://{authority}/{}", path.trim_start_matches('/'))).map_err(|_| RepositoryUrlError::Host)?;
    if url.password().is_some() {
        return Err(RepositoryUrlError::Form);
    }
    check(&url)?;
    Ok(Place::Scp(text.to_owned(), url))
}

/// What holds for every URL that goes to another program.
fn check(url: &Url) -> Result<(), RepositoryUrlError> {
    if url.query().is_some() || url.fragment().is_some() {
        return Err(RepositoryUrlError::Query);
    }
    match url.host().ok_or(RepositoryUrlError::Host)? {
        Host::Domain(host) if host.starts_with('-') => return Err(RepositoryUrlError::Option),
        Host::Domain(host) if !host.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_".contains(&c)) => {
            return Err(RepositoryUrlError::Host);
        }
        Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) => {}
    }
    let path = url.path().trim_start_matches('/');
    if path.is_empty() {
        return Err(RepositoryUrlError::Path);
    }
    let dash = |part: &str| part.starts_with('-') || part.to_ascii_lowercase().starts_with("%2d");
    if dash(path) || dash(url.username()) { Err(RepositoryUrlError::Option) } else { Ok(()) }
}

fn local_path(text: &str) -> Result<String, RepositoryUrlError> {
    let url = Url::parse(text).map_err(|_| RepositoryUrlError::Form)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(RepositoryUrlError::Query);
    }
    if url.host_str().is_some_and(|host| !host.is_empty()) {
        return Err(RepositoryUrlError::Host);
    }
    let mut path = Vec::new();
    let mut bytes = url.path().bytes();
    while let Some(byte) = bytes.next() {
        let escaped = byte == b'%';
        let digits = if escaped { bytes.next().zip(bytes.next()) } else { None };
        path.push(match digits {
            Some((high, low)) => u8::from_str_radix(&format!("{}{}", char::from(high), char::from(low)), 16)
                .map_err(|_| RepositoryUrlError::Form)?,
            None if escaped => return Err(RepositoryUrlError::Form),
            None => byte,
        });
    }
    let path = String::from_utf8(path).map_err(|_| RepositoryUrlError::Form)?;
    if path.chars().any(char::is_control) { Err(RepositoryUrlError::Character) } else { Ok(path) }
}

fn local_url(path: &str) -> Url {
    let mut url = EMPTY_FILE_URL.clone();
    url.set_path(&path.replace('%', "%25"));
    url
}

static EMPTY_FILE_URL: std::sync::LazyLock<Url> = std::sync::LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a constant that parses")]
    Url::parse("file:///").expect("a URL")
});

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Scp(text, _) | Place::Local(text) => f.write_str(text),
            Place::Url(kind, url) => {
                let mut url = url.clone();
                let stripped = url.set_password(None).and_then(|()| match kind {
                    RepositoryKind::Ssh => Ok(()),
                    _ => url.set_username(""),
                });
                // Only a URL without a host refuses, and such a one does not parse as a repository.
                if stripped.is_ok() { write!(f, "{url}") } else { f.write_str(kind.scheme()) }
            }
        }
    }
}

impl RepositoryKind {
    const fn scheme(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::Git => "git",
            Self::Local => "file",
        }
    }
}

impl fmt::Debug for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepositoryUrl({self})")
    }
}

impl Serialize for RepositoryUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RepositoryUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "sql")]
crate::sql::word!(RepositoryUrl);

#[cfg(test)]
mod tests;
