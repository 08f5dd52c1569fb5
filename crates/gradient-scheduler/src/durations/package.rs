//! What is told apart when builds are expected to take about the same time.

use std::hash::{DefaultHasher, Hash, Hasher};

/// How many parts of a name make a group at most.
const PARTS_MAX: usize = 3;

/// A package for a system, or one of its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package<'a> {
    name: &'a str,
    system: &'a str,
    fixed_output: bool,
}

impl<'a> Package<'a> {
    /// The package that a derivation of this name builds; `fixed_output` says that it is a fetch, whose result is known before.
    pub fn of_derivation(derivation: &'a str, system: &'a str, fixed_output: bool) -> Self {
        Self { name: without_version(derivation), system, fixed_output }
    }

    /// The name, which has no version.
    pub const fn name(self) -> &'a str {
        self.name
    }

    /// What it is built on.
    pub const fn system(self) -> &'a str {
        self.system
    }

    /// Whether it is a fetch.
    pub const fn is_fixed_output(self) -> bool {
        self.fixed_output
    }

    /// The key of exactly this package.
    pub(super) fn itself(self) -> u64 {
        self.key(0, self.system, self.name, "")
    }

    /// The key of it on any system, for any release of its language.
    pub(super) fn elsewhere(self) -> u64 {
        let (first, rest) = self.name.split_once('-').unwrap_or((self.name, ""));
        self.key(1, "", without_release(first), rest)
    }

    /// The keys of those that are like it, from all to those with the longest beginning in common.
    pub(super) fn groups(self) -> Vec<u64> {
        let (first, rest) = self.name.split_once('-').unwrap_or((self.name, ""));
        let first = without_release(first);
        let mut groups = vec![self.key(2, "", "", ""), self.key(3, "", first, "")];
        let ends = rest.match_indices('-').map(|(end, _)| end).take(PARTS_MAX - 1);
        groups.extend(ends.map(|end| self.key(3, "", first, &rest[..end])));
        groups
    }

    /// The same in each run, but not for ever: keys are not stored.
    fn key(self, level: u8, system: &str, first: &str, rest: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (level, self.fixed_output, system, first, rest).hash(&mut hasher);
        hasher.finish()
    }
}

/// The name ends, as Nix has it, where a dash is followed by something that is no letter.
fn without_version(derivation: &str) -> &str {
    let is_end = |&(at, _): &(usize, &str)| derivation[at + 1..].chars().next().is_some_and(|next| !next.is_alphabetic());
    derivation.match_indices('-').find(is_end).map_or(derivation, |(end, _)| &derivation[..end])
}

/// `python` for `python3.6`. What begins with a digit stays.
fn without_release(part: &str) -> &str {
    let end = part.find(|letter: char| letter.is_ascii_digit()).unwrap_or(part.len());
    if end == 0 { part } else { &part[..end] }
}
