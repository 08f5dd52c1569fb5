//! Which names git takes for branches (`git check-ref-format`).

use crate::ForgeError;

const MAX_LENGTH: usize = 255;

/// The full name of a branch, or a refusal of a name that is none.
pub(crate) fn reference(branch: &str) -> Result<String, ForgeError> {
    let name = branch.strip_prefix("refs/heads/").unwrap_or(branch);
    if is_valid(name) {
        Ok(format!("refs/heads/{name}"))
    } else {
        Err(ForgeError::InvalidBranch { branch: branch.chars().take(80).collect() })
    }
}

fn is_valid(name: &str) -> bool {
    name.len() <= MAX_LENGTH
        && name != "@"
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.chars().any(|c| c.is_control() || c.is_whitespace() || r"~^:?*[\".contains(c))
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !has_lock_suffix(part))
}

fn has_lock_suffix(part: &str) -> bool {
    std::path::Path::new(part).extension().is_some_and(|extension| extension == "lock")
}

/// Whether a text is a commit's full SHA-1, in lower case.
pub(crate) fn is_hash(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_what_git_takes() {
        for name in ["main", "feature/x", "release-1.2", "ümläut", "a@b", "refs/heads/main"] {
            assert!(reference(name).is_ok(), "{name}");
        }
        let long = "x".repeat(256);
        for name in [
            "",
            "@",
            "-x",
            "--upload-pack=touch /tmp/x",
            "a b",
            "a..b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.",
            "a.lock",
            "a.lock/b",
            "a@{1}",
            "a\nb",
            "a\0b",
            "refs/heads/",
            "refs/heads/-x",
            &long,
        ] {
            assert!(matches!(reference(name), Err(ForgeError::InvalidBranch { .. })), "{name:?}");
        }
        assert_eq!(reference("main").unwrap(), reference("refs/heads/main").unwrap());
    }

    #[test]
    fn hashes_are_forty_digits() {
        assert!(is_hash(&"0a".repeat(20)));
        for text in ["", "HEAD", "--all", &"0A".repeat(20), &"0".repeat(39), &"0".repeat(64)] {
            assert!(!is_hash(text), "{text}");
        }
    }
}
