//! Follows the patterns of a wildcard through a flake, level by level, without looking at what no pattern asks for.

use std::collections::{BTreeMap, BTreeSet};

use gradient_domain::{BuildTimes, Pattern, Segment, Wildcard};
use gradient_nix::StorePath;
use thiserror::Error;

use super::evaluator::{Found, Query};

/// How many attributes one evaluation may look at.
const MAX_ATTRIBUTES: usize = 500_000;

/// Where the patterns are.
#[derive(Debug)]
pub(super) struct Expansion<'w> {
    wildcard: &'w Wildcard,
    matched: Vec<bool>,
    told: BTreeSet<Vec<String>>,
    asked: BTreeMap<Vec<String>, Vec<Cursor>>,
    next: BTreeMap<Vec<String>, Vec<Cursor>>,
    count: usize,
}

/// Why a pattern looks at an attribute.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    pattern: usize,
    /// Which segment comes after the attribute; behind the last one the attribute itself is meant.
    rest: usize,
    /// Whether derivations one level inside it are meant too.
    deeper: bool,
}

/// What a pattern found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match {
    /// A derivation, and the times that it asks for.
    Derivation(Vec<String>, StorePath, BuildTimes),
    /// An attribute that is not what it should be.
    Failed(Vec<String>, String),
    /// An attribute that throws; why, is not known yet.
    Throws(Vec<String>),
}

/// The wildcard asks for too much.
#[derive(Debug, Error)]
#[error("the wildcard makes Nix look at more than {MAX_ATTRIBUTES} attributes")]
pub(super) struct TooMany;

impl<'w> Expansion<'w> {
    /// At the root of a flake.
    pub(super) fn new(wildcard: &'w Wildcard) -> Self {
        let mut expansion = Self {
            wildcard,
            matched: vec![false; wildcard.patterns().len()],
            told: BTreeSet::new(),
            asked: BTreeMap::new(),
            next: BTreeMap::new(),
            count: 0,
        };
        for pattern in 0..wildcard.patterns().len() {
            expansion.advance(Vec::new(), Cursor { pattern, rest: 0, deeper: false });
        }
        expansion
    }

    /// What has to be looked at next; nothing when all is found.
    pub(super) fn next_round(&mut self) -> Result<Vec<Query>, TooMany> {
        if self.count > MAX_ATTRIBUTES {
            return Err(TooMany);
        }
        self.asked = std::mem::take(&mut self.next);
        let query = |(path, cursors): (&Vec<String>, &Vec<Cursor>)| Query {
            path: path.clone(),
            derivation: cursors.iter().any(|cursor| self.is_leaf(*cursor)) && !self.wildcard.leaves_out(path),
            names: cursors.iter().any(|cursor| !self.is_leaf(*cursor) || cursor.deeper),
        };
        Ok(self.asked.iter().map(query).collect())
    }

    /// Takes what an attribute is.
    pub(super) fn take(&mut self, path: &[String], found: &Found) -> Vec<Match> {
        let cursors = self.asked.remove(path).unwrap_or_default();
        if self.wildcard.leaves_out(path) && !matches!(found, Found::Set(_)) {
            return Vec::new();
        }
        if let Found::Set(names) = found {
            for cursor in &cursors {
                self.descend(path, names, *cursor);
            }
        }
        let mut matches = Vec::new();
        for cursor in cursors {
            if let Some(outcome) = self.outcome(path, found, cursor) {
                self.mark(cursor);
                let (Match::Derivation(path, ..) | Match::Failed(path, _) | Match::Throws(path)) = &outcome;
                if self.told.insert(path.clone()) {
                    matches.push(outcome);
                }
            }
        }
        matches
    }

    /// The patterns that found nothing.
    pub(super) fn patterns_without_match(&self) -> impl Iterator<Item = &'w Pattern> {
        self.wildcard.patterns().iter().zip(&self.matched).filter(|(_, matched)| !**matched).map(|(pattern, _)| pattern)
    }

    fn outcome(&self, path: &[String], found: &Found, cursor: Cursor) -> Option<Match> {
        let leaf = self.is_leaf(cursor);
        let exact = self.pattern(cursor).is_some_and(|pattern| pattern.exact().is_some());
        let failed = |error: &str| Some(Match::Failed(path.to_vec(), error.to_owned()));
        match found {
            Found::Derivation(Some((derivation, times))) if leaf => {
                Some(Match::Derivation(path.to_vec(), derivation.clone(), *times))
            }
            Found::Throws(depth) => Some(Match::Throws(path.get(..*depth).unwrap_or(path).to_vec())),
            Found::Fatal(error) => failed(error),
            Found::Missing if exact => failed("the flake has no such attribute"),
            Found::Set(_) if exact => failed("it is a set of attributes and no derivation"),
            Found::Other(kind) if exact => failed(&format!("it is a {kind} and no derivation")),
            Found::Derivation(_) | Found::Missing | Found::Set(_) | Found::Other(_) => None,
        }
    }

    /// Looks into a set.
    fn descend(&mut self, path: &[String], names: &[String], cursor: Cursor) {
        let segments = self.pattern(cursor).map(Pattern::segments).unwrap_or_default();
        let below = match segments.get(cursor.rest) {
            Some(segment) => {
                let rest = cursor.rest + 1;
                Cursor { rest, deeper: *segment == Segment::Any && rest == segments.len(), ..cursor }
            }
            None if cursor.deeper => Cursor { deeper: false, ..cursor },
            None => return,
        };
        for name in names {
            let mut path = path.to_vec();
            path.push(name.clone());
            self.advance(path, below);
        }
    }

    /// Follows the names that the pattern gives.
    fn advance(&mut self, mut path: Vec<String>, mut cursor: Cursor) {
        let segments = self.pattern(cursor).map(Pattern::segments).unwrap_or_default();
        while let Some(Segment::Name(name)) = segments.get(cursor.rest) {
            path.push(name.clone());
            cursor.rest += 1;
        }
        let left_out = cursor.rest == segments.len() && !cursor.deeper && self.wildcard.leaves_out(&path);
        if !left_out && self.count <= MAX_ATTRIBUTES {
            self.count += 1;
            self.next.entry(path).or_default().push(cursor);
        }
    }

    fn is_leaf(&self, cursor: Cursor) -> bool {
        self.pattern(cursor).is_none_or(|pattern| cursor.rest == pattern.segments().len())
    }

    fn pattern(&self, cursor: Cursor) -> Option<&'w Pattern> {
        self.wildcard.patterns().get(cursor.pattern)
    }

    fn mark(&mut self, cursor: Cursor) {
        if let Some(matched) = self.matched.get_mut(cursor.pattern) {
            *matched = true;
        }
    }
}

#[cfg(test)]
mod tests;
