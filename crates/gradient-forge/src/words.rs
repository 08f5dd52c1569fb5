//! Git's own words, for the person who entered the URL.

use std::path::Path;

use gradient_domain::RepositoryUrl;

const MAX_LENGTH: usize = 1000;

/// What git said, without credentials, paths of the server and control characters, and not too much of it.
pub(crate) fn presentable(said: &[u8], repository: &RepositoryUrl, directory: &Path) -> String {
    let mut text = String::from_utf8_lossy(said).into_owned();
    for secret in repository.credentials() {
        text = text.replace(&decoded(secret), "***").replace(secret, "***");
    }
    text = text.replace(&*directory.to_string_lossy(), "…");
    let lines = text.lines().map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>());
    let lines: Vec<String> = lines.filter(|line| !line.trim().is_empty()).collect();
    let text: String = lines.join("\n").chars().take(MAX_LENGTH).collect();
    if text.is_empty() { "git failed without a word".to_owned() } else { text }
}

/// Without the escapes of URLs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_paths_are_left_out() {
        let repository = "https://robot:p%40ss%word@example.org/owner/name".parse().unwrap();
        let said = b"fatal: no \x1b[31mfor robot, p%40ss%word, p@ss%word\r\n\n in /tmp/x/repository\xff";
        let words = presentable(said, &repository, Path::new("/tmp/x"));
        assert_eq!(words, "fatal: no [31mfor ***, ***, ***\n in …/repository\u{fffd}");
        assert_eq!(presentable(&b"x".repeat(5000), &repository, Path::new("/tmp/x")).len(), MAX_LENGTH);
        assert_eq!(presentable(b" \n\t", &repository, Path::new("/tmp/x")), "git failed without a word");
    }
}
