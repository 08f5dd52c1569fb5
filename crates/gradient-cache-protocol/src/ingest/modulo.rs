use gradient_nix::{HashAlgorithm, NixHash, NixHasher, StorePathHash};

/// The characters of a store path's hash.
const LENGTH: usize = 32;

/// Hashes content that has the hash of its own path in it: how Nix addresses that, whose path depends on the address.
///
/// Each place where the hash is counts as zeros. Nix 2.8 hashes all places behind the content, each as `|` and its number of bytes
/// from the beginning; Nix 2.34 has lost that, and hashes the content alone.
pub(super) struct ModuloHasher {
    with_places: NixHasher,
    without: NixHasher,
    own: [u8; LENGTH],
    /// What was not hashed yet, as the hash may go on in what comes next.
    rest: Vec<u8>,
    /// How many bytes were hashed.
    hashed: u64,
    places: Vec<u64>,
}

/// How many places are remembered. Content with more of them hashes to something else than Nix says.
const MAX_PLACES: usize = 1 << 20;

impl ModuloHasher {
    pub(super) fn new(algorithm: HashAlgorithm, own: StorePathHash) -> Self {
        let mut text = [0; LENGTH];
        for (place, byte) in text.iter_mut().zip(own.to_string().bytes()) {
            *place = byte;
        }
        let [with_places, without] = [algorithm; 2].map(NixHasher::new);
        Self { with_places, without, own: text, rest: Vec::new(), hashed: 0, places: Vec::new() }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(at) = find(self.rest.get(from..).unwrap_or_default(), &self.own) {
            let at = from + at;
            if self.places.len() < MAX_PLACES {
                self.places.push(self.hashed + at as u64);
            }
            from = at + LENGTH;
            if let Some(place) = self.rest.get_mut(at..from) {
                place.fill(0);
            }
        }
        let complete = self.rest.len().saturating_sub(LENGTH - 1);
        let hashed = self.rest.get(..complete).unwrap_or_default();
        self.with_places.update(hashed);
        self.without.update(hashed);
        self.rest.drain(..complete);
        self.hashed += complete as u64;
    }

    /// With the places, and without.
    pub(super) fn finalize(mut self) -> [NixHash; 2] {
        self.with_places.update(&self.rest);
        self.without.update(&self.rest);
        for place in self.places {
            self.with_places.update(format!("|{place}").as_bytes());
        }
        [self.with_places.finalize(), self.without.finalize()]
    }
}

/// Where `own` begins for the first time. Where its last character would be decides how far to go on, so that few bytes are
/// looked at.
fn find(bytes: &[u8], own: &[u8; LENGTH]) -> Option<usize> {
    let mut at = 0;
    while let Some(window) = bytes.get(at..at + LENGTH) {
        if window == own {
            return Some(at);
        }
        let last = window.last()?;
        at += own.iter().rev().skip(1).position(|byte| byte == last).map_or(LENGTH, |back| back + 1);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: &str = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz";

    fn modulo(pieces: &[&[u8]]) -> [NixHash; 2] {
        let mut hasher = ModuloHasher::new(HashAlgorithm::Sha256, OWN.parse().unwrap());
        for piece in pieces {
            hasher.update(piece);
        }
        hasher.finalize()
    }

    /// As it is written in the comment above.
    fn plain(content: &str) -> [NixHash; 2] {
        let places: Vec<_> = content.match_indices(OWN).map(|(place, _)| format!("|{place}")).collect();
        let zeros = content.replace(OWN, &"\0".repeat(LENGTH));
        [zeros.clone() + &places.concat(), zeros].map(|text| {
            let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
            hasher.update(text.as_bytes());
            hasher.finalize()
        })
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            noise in proptest::collection::vec("[a-z0-9/]{0,70}", 1..10),
            cuts in proptest::collection::vec(0..1000_usize, 0..20),
        ) {
            let content = noise.join(OWN);
            let bytes = content.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < bytes.len()).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(modulo(&pieces), plain(&content));
        }
    }
}
