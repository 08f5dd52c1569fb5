//! What a commit says about itself.

use crate::branch::is_hash;

/// The longest message and the longest name that are kept, in characters.
const MAX_MESSAGE: usize = 16 * 1024;
const MAX_NAME: usize = 256;

/// A commit that a repository has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadCommit {
    /// Its SHA-1, 40 hexadecimal digits in lower case.
    pub hash: String,
    /// Its message. This and the author are empty when the repository does not give a single commit away.
    pub message: String,
    /// Who wrote it.
    pub author_name: String,
    /// Where to write to them.
    pub author_email: String,
    /// The branch it is at the head of, without `refs/heads/`. `None` when it was asked for by its hash, or the head is on no branch.
    pub branch: Option<String>,
    /// The known hosts with the one that was met for the first time: to be kept for the next contact.
    pub known_hosts: Option<String>,
}

/// The answer of `git ls-remote --symref`: the hash at a reference, and the branch that it stands for.
pub(crate) fn advertised(answer: &[u8], reference: &str) -> Option<(String, Option<String>)> {
    let answer = String::from_utf8_lossy(answer);
    let lines = answer.lines().filter_map(|line| line.split_once('\t'));
    let values: Vec<&str> = lines.filter(|(_, name)| *name == reference).map(|(value, _)| value).collect();
    let hash = values.iter().find(|value| !value.starts_with("ref: "))?;
    let target = values.iter().find_map(|value| value.strip_prefix("ref: ")).unwrap_or(reference);
    Some(((*hash).to_owned(), target.strip_prefix("refs/heads/").map(str::to_owned)))
}

/// The answer of `git cat-file --batch`: a commit with its message and author. `None` when the object is no commit.
pub(crate) fn parse(answer: &[u8], hash: &str) -> Option<HeadCommit> {
    let answer = String::from_utf8_lossy(answer);
    let (first, commit) = answer.split_once('\n')?;
    first.strip_prefix(hash)?.strip_prefix(" commit ")?;
    if !is_hash(hash) {
        return None;
    }
    let (headers, message) = commit.split_once("\n\n").unwrap_or((commit, ""));
    let author = headers.lines().find_map(|line| line.strip_prefix("author ")).unwrap_or("");
    let (name, rest) = author.split_once('<').unwrap_or((author, ""));
    let email = rest.split_once('>').map_or(rest, |(email, _)| email);
    Some(HeadCommit {
        hash: hash.to_owned(),
        message: printable(message.trim_end(), MAX_MESSAGE),
        author_name: printable(name.trim(), MAX_NAME),
        author_email: printable(email.trim(), MAX_NAME),
        ..HeadCommit::default()
    })
}

/// Without control characters: a database refuses NUL, and a terminal obeys others.
fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).take(max).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_commit_is_read_whatever_it_says() {
        let text = format!("{HASH} commit 99\ntree x\nauthor A. U. Thor <a@example.org> 1 +0000\n\nsubject\n\nbo\x1bdy\0\n\n");
        let commit = parse(text.as_bytes(), HASH).unwrap();
        assert_eq!(
            (&*commit.author_name, &*commit.author_email, &*commit.message),
            ("A. U. Thor", "a@example.org", "subject\n\nbody")
        );

        let bare = parse(format!("{HASH} commit 0\n").as_bytes(), HASH).unwrap();
        assert_eq!(bare, HeadCommit { hash: HASH.into(), ..HeadCommit::default() });
        let long = parse(format!("{HASH} commit 9\nauthor <\n\n{}", "é".repeat(20_000)).as_bytes(), HASH).unwrap();
        assert_eq!(long.message.chars().count(), MAX_MESSAGE);
        for answer in [format!("{HASH} missing\n"), format!("{HASH} tag 5\nobject"), String::new(), HASH.to_owned()] {
            assert_eq!(parse(answer.as_bytes(), HASH), None, "{answer}");
        }
        assert_eq!(parse(b"\xff\xfe\n", HASH), None);
    }

    #[test]
    fn only_the_reference_itself_counts() {
        let answer = format!("{}\trefs/heads/x/refs/heads/main\n{HASH}\trefs/heads/main\n", "f".repeat(40));
        assert_eq!(advertised(answer.as_bytes(), "refs/heads/main"), Some((HASH.into(), Some("main".into()))));
        let answer = format!("ref: refs/heads/trunk\tHEAD\n{HASH}\tHEAD\n{HASH}\trefs/remotes/origin/HEAD\n");
        assert_eq!(advertised(answer.as_bytes(), "HEAD"), Some((HASH.into(), Some("trunk".into()))));
        assert_eq!(advertised(format!("{HASH}\tHEAD\n").as_bytes(), "HEAD"), Some((HASH.into(), None)));
        assert_eq!(advertised(b"ref: refs/heads/main\tHEAD\n", "HEAD"), None);
    }
}
