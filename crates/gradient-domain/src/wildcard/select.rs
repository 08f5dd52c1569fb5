//! What a wildcard means, on a tree that is already known. Evaluators walk the flake itself, lazily; this says what they
//! have to find.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pattern, Segment, Wildcard};

/// An attribute of a flake, as far as wildcards tell attributes apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A derivation. Wildcards do not look inside.
    Derivation,
    /// An attribute set that is no derivation.
    Set(BTreeMap<String, Attribute>),
    /// Anything else.
    Other,
}

impl Wildcard {
    /// The derivations of `flake` that it matches, sorted by their path.
    pub fn matches(&self, flake: &Attribute) -> BTreeSet<Vec<String>> {
        let mut found: BTreeSet<_> = self.patterns.iter().flat_map(|pattern| pattern.matches(flake)).collect();
        found.retain(|path| !self.leaves_out(path));
        found
    }
}

impl Pattern {
    /// The derivations of `flake` that it matches.
    pub fn matches(&self, flake: &Attribute) -> BTreeSet<Vec<String>> {
        let mut found = BTreeSet::new();
        descend(flake, &self.segments, &mut Vec::new(), &mut found);
        found
    }
}

fn descend(attribute: &Attribute, segments: &[Segment], path: &mut Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    let Some((segment, rest)) = segments.split_first() else {
        if *attribute == Attribute::Derivation {
            found.insert(path.clone());
        }
        return;
    };
    let Attribute::Set(children) = attribute else { return };
    for (name, child) in children {
        if matches!(segment, Segment::Name(wanted) if wanted != name) {
            continue;
        }
        path.push(name.clone());
        descend(child, rest, path, found);
        if rest.is_empty() && *segment == Segment::Any {
            descend(child, &[Segment::Derivation], path, found);
        }
        path.pop();
    }
}
