use std::collections::BTreeSet;

use gradient_nix::StorePathHash;

/// The characters of a store path's hash.
const LENGTH: usize = 32;

/// How many hashes are remembered. A path with more references is read a second time.
const MAX_HASHES: usize = 4096;

/// Hashes of store paths that a NAR has in it, found before it is known which paths it claims to refer to.
///
/// Where [references](super::Candidates) are looked for, the candidates are known. An upload is not so kind: its narinfo comes
/// after the NAR. So all that look like the hash of a store path are noted: the last 32 of each row of at least 32 characters of
/// Nix's base32. That misses only hashes with more such characters right behind them, and those beyond the first few thousand, so
/// what is noted is surely there, and what is not may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mentions {
    found: BTreeSet<StorePathHash>,
    /// How many characters of the alphabet have come in a row.
    run: usize,
    /// The last of them, each at its number modulo the length.
    last: [u8; LENGTH],
}

impl Default for Mentions {
    fn default() -> Self {
        Self { found: BTreeSet::new(), run: 0, last: [0; LENGTH] }
    }
}

impl Mentions {
    /// Those that were found.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &StorePathHash> {
        self.found.iter()
    }

    /// Whether the hash was found. One that was not may be there all the same.
    pub fn contains(&self, hash: &StorePathHash) -> bool {
        self.found.contains(hash)
    }

    /// The hashes one after the other, 20 bytes each: to be kept until the narinfo comes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.found.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (hashes, _) = bytes.as_chunks();
        hashes.iter().copied().map(StorePathHash::from_bytes).collect()
    }

    /// Looks at the next bytes.
    pub(super) fn scan(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            // A row that begins here or soon would have to reach over the byte that is looked at.
            if self.run == 0 && bytes.get(at + LENGTH - 1).is_some_and(|ahead| !is_of_hash(*ahead)) {
                at += LENGTH;
                continue;
            }
            if is_of_hash(*byte) {
                self.last[self.run % LENGTH] = *byte;
                self.run += 1;
            } else {
                self.end_run();
            }
            at += 1;
        }
    }

    /// Nothing comes any more.
    pub(super) fn finish(mut self) -> Self {
        self.end_run();
        self
    }

    fn end_run(&mut self) {
        if self.run >= LENGTH && self.found.len() < MAX_HASHES {
            let mut text = self.last;
            text.rotate_left(self.run % LENGTH);
            let hash = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<StorePathHash>().ok());
            self.found.extend(hash);
        }
        self.run = 0;
    }
}

impl FromIterator<StorePathHash> for Mentions {
    fn from_iter<I: IntoIterator<Item = StorePathHash>>(hashes: I) -> Self {
        Self { found: hashes.into_iter().collect(), ..Self::default() }
    }
}

/// Lower-case letters and digits without `e`, `o`, `t` and `u`.
const fn is_of_hash(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'd' | b'f'..=b'n' | b'p'..=b's' | b'v'..=b'z')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz";
    const B: &str = "2vmnnlg2n5iiwmvhg8957fprn2bw0159";

    fn mentions(pieces: &[&[u8]]) -> Vec<String> {
        let mut mentions = Mentions::default();
        for piece in pieces {
            mentions.scan(piece);
        }
        mentions.finish().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hashes_are_found_wherever_they_are() {
        let text = format!("x /nix/store/{A}-hello\0\"{B}\"");
        assert_eq!(mentions(&[text.as_bytes()]), [A, B]);
        assert_eq!(mentions(&[A.as_bytes()]), [A]);
        assert!(mentions(&[&A.as_bytes()[1..]]).is_empty());
        // What is behind the hash decides where it ends.
        assert_eq!(mentions(&[format!("aaa{A}-").as_bytes()]), [A]);
        assert_ne!(mentions(&[format!("{A}aaa").as_bytes()]), [A]);
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let mut mentions = Mentions::default();
        for number in 0..10_000 {
            mentions.scan(format!("{number:032}-").as_bytes());
        }
        assert_eq!(mentions.finish().iter().len(), MAX_HASHES);
    }

    proptest! {
        /// However the bytes come in pieces, and whatever is around it, each hash between others is found.
        #[test]
        fn pieces_make_no_difference(
            noise in proptest::collection::vec("[a-z0-9 /-]{0,80}", 1..20),
            cuts in proptest::collection::vec(0..3000_usize, 0..20),
        ) {
            let text = noise.join(&format!("/{A}-")).into_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < text.len()).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(mentions(&pieces), mentions(&[&text]));
            prop_assert_eq!(mentions(&pieces).contains(&A.to_owned()), noise.len() > 1);
        }

        #[test]
        fn what_is_kept_is_the_same(hashes: Vec<[u8; 20]>) {
            let mentions: Mentions = hashes.into_iter().map(StorePathHash::from_bytes).collect();
            prop_assert_eq!(Mentions::from_bytes(&mentions.to_bytes()), mentions);
        }
    }
}
