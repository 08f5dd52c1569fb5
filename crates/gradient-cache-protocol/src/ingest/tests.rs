use std::io;

use gradient_nix::nar::{Encoder, Node};
use gradient_nix::{CAHash, HashAlgorithm, NixHasher};
use proptest::prelude::*;

use super::*;
use crate::content_address::{self, ContentAddressError};

/// What Nix 2.8.0 wrote; see the vectors of `gradient-nix`.
const TREE: &[u8] = include_bytes!("../../../gradient-nix/tests/vectors/nar/tree.nar");
const TREE_ZST: &[u8] = include_bytes!("../../../gradient-nix/tests/vectors/nar/tree.nar.zst");
const LISTING: &[u8] = include_bytes!("../../../gradient-nix/tests/vectors/nar/tree.ls");
const FILE: &[u8] = include_bytes!("../../../gradient-nix/tests/vectors/nar/file.nar");

const MIB: u64 = 1024 * 1024;

fn path(text: &str) -> StorePath {
    text.parse().unwrap()
}

fn tree() -> StorePath {
    path("2vmnnlg2n5iiwmvhg8957fprn2bw0159-tree")
}

fn base() -> StorePath {
    path("nvwa44pgdakc6hh2wq9mfyj4124gr5g6-base")
}

fn stranger() -> StorePath {
    path("7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-stranger")
}

fn expectation() -> Expectation {
    Expectation::new(tree(), Candidates::new([tree(), base(), stranger()]), MIB)
}

fn hash(algorithm: HashAlgorithm, bytes: &[u8]) -> gradient_nix::NixHash {
    let mut hasher = NixHasher::new(algorithm);
    hasher.update(bytes);
    hasher.finalize()
}

/// Refused in both forms in the same way.
fn refusal(nar: &[u8], expectation: &Expectation) -> IngestError {
    let plain = verify_nar(nar, expectation).unwrap_err();
    let compressed = verify(zstd::encode_all(nar, 3).unwrap().as_slice(), expectation).unwrap_err();
    assert_eq!(plain.to_string(), compressed.to_string());
    plain
}

#[test]
fn what_nix_uploads_is_believed() {
    let claimed = Expectation {
        references: Some([tree(), base()].into()),
        nar_hash: Some("sha256:07w76rv16wsb6j588p50mpmiyw1w46xs6vn78w1si7wssgqwvys4".parse().unwrap()),
        nar_size: Some(3024),
        file_hash: Some("sha256:18j9yd90hjjkv5df24rh0834q4d8wx80zshs5n042iibiv74ycyc".parse().unwrap()),
        file_size: Some(518),
        ..expectation()
    };
    let verified = verify(TREE_ZST, &claimed).unwrap();
    assert_eq!(verified.nar.listing.to_json().unwrap(), LISTING);
    assert_eq!(verified.nar, verify_nar(TREE, &claimed).unwrap());
    // What is not claimed is found.
    assert_eq!(verified, verify(TREE_ZST, &expectation()).unwrap());
}

#[test]
fn every_lie_about_the_nar_has_its_own_refusal() {
    let nar_hash = Some(NarHash([7; 32]));
    let refused = refusal(TREE, &Expectation { nar_hash, ..expectation() });
    assert!(matches!(refused, IngestError::NarHash { claimed: NarHash([7, ..]), .. }), "{refused}");
    let refused = refusal(TREE, &Expectation { nar_size: Some(3023), ..expectation() });
    assert!(matches!(refused, IngestError::NarSize { claimed: 3023, found: 3024, .. }), "{refused}");
    let refused = verify(TREE_ZST, &Expectation { file_hash: nar_hash, ..expectation() }).unwrap_err();
    assert!(matches!(refused, IngestError::FileHash { claimed: NarHash([7, ..]), .. }), "{refused}");
    let refused = verify(TREE_ZST, &Expectation { file_size: Some(1), ..expectation() }).unwrap_err();
    assert!(matches!(refused, IngestError::FileSize { claimed: 1, found: 518, .. }), "{refused}");
}

#[test]
fn claimed_references_are_exactly_those_found() {
    let claim =
        |references: &[StorePath]| Expectation { references: Some(references.iter().cloned().collect()), ..expectation() };
    let refused = refusal(TREE, &claim(&[tree(), base(), stranger()]));
    assert!(matches!(&refused, IngestError::ReferenceNotFound { reference, .. } if *reference == stranger()), "{refused}");
    let refused = refusal(TREE, &claim(&[tree()]));
    assert!(matches!(&refused, IngestError::ReferenceNotClaimed { reference, .. } if *reference == base()), "{refused}");
    // A reference that is no candidate is not looked for, so it cannot be claimed either.
    let narrow = Expectation { candidates: Candidates::new([tree()]), ..claim(&[tree(), base()]) };
    assert!(matches!(refusal(TREE, &narrow), IngestError::ReferenceNotFound { .. }));
    let none = Expectation { candidates: Candidates::new([]), ..expectation() };
    assert!(verify_nar(TREE, &none).unwrap().references.is_empty());
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    struct Zeros(u64);
    impl io::Read for Zeros {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(usize::try_from(self.0).unwrap());
            buffer[..count].fill(0);
            self.0 -= count as u64;
            Ok(count)
        }
    }
    struct Counting<'a>(&'a [u8], usize);
    impl io::Read for Counting<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = io::Read::read(&mut self.0, &mut buffer[..1])?;
            self.1 += count;
            Ok(count)
        }
    }
    let size = 256 * MIB;
    let mut head = Vec::new();
    for token in ["nix-archive-1", "(", "type", "regular", "contents"] {
        head.extend((token.len() as u64).to_le_bytes());
        head.extend(token.bytes());
        head.resize(head.len().next_multiple_of(8), 0);
    }
    head.extend(size.to_le_bytes());
    let bomb = zstd::encode_all(io::Read::chain(head.as_slice(), Zeros(size)), 3).unwrap();
    assert!(bomb.len() < 100_000);
    // The compressed bytes behind the limit are never looked at.
    let mut counting = Counting(&bomb, 0);
    let refused = verify(&mut counting, &expectation()).unwrap_err();
    assert!(matches!(refused, IngestError::TooLarge { max: MIB, .. }), "{refused}");
    assert!(counting.1 * 10 < bomb.len(), "{} of {}", counting.1, bomb.len());
}

#[test]
fn a_window_that_costs_too_much_memory_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(MAX_WINDOW_LOG + 1).unwrap();
    io::Write::write_all(&mut encoder, TREE).unwrap();
    let refused = verify(encoder.finish().unwrap().as_slice(), &expectation()).unwrap_err();
    assert!(matches!(refused, IngestError::Compression { .. }), "{refused}");
}

#[test]
fn only_whole_zstd_is_read() {
    for bytes in [TREE, b"not zstd at all", &[TREE_ZST, b"garbage"].concat(), &TREE_ZST[..TREE_ZST.len() - 1]] {
        let refused = verify(bytes, &expectation()).unwrap_err();
        assert!(matches!(refused, IngestError::Compression { .. }), "{refused}");
    }
    // A NAR may come in several frames, but there may be nothing behind it.
    let (head, tail) = TREE.split_at(1000);
    let frames = [zstd::encode_all(head, 1).unwrap(), zstd::encode_all(tail, 1).unwrap()].concat();
    assert_eq!(verify(frames.as_slice(), &expectation()).unwrap().nar.nar_size, 3024);
    let refused = verify([TREE_ZST, TREE_ZST].concat().as_slice(), &expectation()).unwrap_err();
    assert!(matches!(refused, IngestError::Nar { .. }), "{refused}");
}

#[test]
fn an_upload_that_breaks_off_is_told_from_a_wrong_one() {
    struct Reset;
    impl io::Read for Reset {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let broken = || io::Read::chain(&TREE_ZST[..100], Reset);
    assert!(matches!(verify(broken(), &expectation()), Err(IngestError::Read(_))));
    let broken = || io::Read::chain(&TREE[..100], Reset);
    assert!(matches!(verify_nar(broken(), &expectation()), Err(IngestError::Read(_))));
    assert!(matches!(verify(b"".as_slice(), &expectation()), Err(IngestError::Compression { .. })));
}

/// The file of the vectors, declared with an address by `algorithm`.
fn declared(address: CAHash, name: &str) -> Expectation {
    let path = content_address::store_path(name, &address, &BTreeSet::new()).unwrap();
    Expectation::declared(path, address, BTreeSet::new(), MIB)
}

#[test]
fn a_fixed_output_is_what_it_has_to_be() {
    let contents = b"fixed content\n";
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha512, HashAlgorithm::Sha1, HashAlgorithm::Md5] {
        verify_nar(FILE, &declared(CAHash::Flat(hash(algorithm, contents)), "fixed-flat.txt")).unwrap();
        verify_nar(FILE, &declared(CAHash::Nar(hash(algorithm, FILE)), "fixed-flat.txt")).unwrap();
        for wrong in [CAHash::Flat(hash(algorithm, b"x")), CAHash::Nar(hash(algorithm, b"x"))] {
            let refused = refusal(FILE, &declared(wrong, "fixed-flat.txt"));
            assert!(matches!(refused, IngestError::Content { .. }), "{refused}");
        }
    }
    // As the derivation in the vectors has it.
    let flat = CAHash::Flat(hash(HashAlgorithm::Sha256, contents));
    let expected = Subject::Path(path("j50dpv4dm8hhhp1acbzyg52c6hm45l3w-fixed-flat.txt"));
    assert_eq!(declared(flat, "fixed-flat.txt").subject, expected);
    let refused = refusal(TREE, &declared(CAHash::Flat(hash(HashAlgorithm::Sha256, contents)), "tree"));
    assert!(matches!(refused, IngestError::NotAFile { found: "a directory", .. }), "{refused}");
}

#[test]
fn a_text_is_declared_with_its_references() {
    let text = format!("see {}", base().to_absolute());
    let mut nar = Encoder::new(Vec::new()).unwrap();
    nar.regular(None, false, text.as_bytes()).unwrap();
    let nar = nar.finish().unwrap();
    let gradient_nix::NixHash::Sha256(digest) = hash(HashAlgorithm::Sha256, text.as_bytes()) else { panic!() };
    let address = CAHash::Text(digest);
    let references = BTreeSet::from([base()]);
    let path = content_address::store_path("note", &address, &references).unwrap();
    let claim = |path, references| Expectation::declared(path, address.clone(), references, MIB);
    let verified = verify_nar(nar.as_slice(), &claim(path.clone(), references.clone())).unwrap();
    assert_eq!(verified.references, references);
    // Without the reference it would be another path, and the reference may not be kept quiet for it.
    let bare = content_address::store_path("note", &address, &BTreeSet::new()).unwrap();
    let refused = refusal(&nar, &claim(bare, references.clone()));
    assert!(matches!(&refused, IngestError::ContentAddress(ContentAddressError::WrongPath { found, .. }) if *found == path));
    let more = BTreeSet::from([base(), stranger()]);
    assert!(matches!(refusal(&nar, &claim(path, more)), IngestError::ReferenceNotFound { .. }));
}

/// Built from derivations with a floating content-addressed output, by Nix 2.8.0 and by 2.34.8, which do not agree.
const TO_ITSELF: [(&[u8], &str, &str); 2] = [
    (
        include_bytes!("../../tests/vectors/self.nar"),
        "6904b43xjh0yg8hiri5nyvkch6j9f31s-self",
        "fixed:r:sha256:17qp1kjx3jjwk5lxs9nsqzmcj54y0d7l9f2pv3qmvig5950hfqq2",
    ),
    (
        include_bytes!("../../tests/vectors/self-2.34.nar"),
        "gxxcgf6a3y7ydkx6qqvrnhmgs83r5kwa-self-new",
        "fixed:r:sha256:1hdkj6y3qp4s6zzs5mph6dsdw2f2bi5sfkix86njg8n2bwk0bpa6",
    ),
];

#[test]
fn what_refers_to_itself_has_the_address_that_nix_says() {
    for (nar, own, address) in TO_ITSELF {
        let (own, address) = (path(own), CAHash::parse(address).unwrap());
        let claim = |address: &CAHash| Expectation::declared(own.clone(), address.clone(), [own.clone()].into(), MIB);
        let verified = verify_nar(nar, &claim(&address)).unwrap();
        assert_eq!(verified.references, [own.clone()].into());
        // As something that does not know it yet finds it, too.
        let unknown = Expectation { references: None, ..claim(&address) };
        assert_eq!(verify_nar(nar, &unknown).unwrap(), verified);
        let other = CAHash::Nar(hash(HashAlgorithm::Sha256, nar));
        let refused = refusal(nar, &claim(&other));
        assert!(matches!(refused, IngestError::ContentAddress(ContentAddressError::WrongPath { .. })), "{refused}");
        // One reference to itself less is something else.
        let hash = own.hash().to_string();
        let less = String::from_utf8_lossy(nar).replacen(&hash, "0000000000000000000000000000000z", 1);
        let refused = refusal(less.as_bytes(), &claim(&address));
        assert!(matches!(refused, IngestError::Content { .. }), "{refused}");
    }
}

#[test]
fn addresses_that_cannot_be_checked_are_refused() {
    let git = CAHash::Git(hash(HashAlgorithm::Sha1, b""));
    let refused = refusal(FILE, &Expectation { content_address: Some(git), ..expectation() });
    assert!(matches!(refused, IngestError::ContentAddress(ContentAddressError::Method { .. })), "{refused}");
    let flat = CAHash::Flat(hash(HashAlgorithm::Sha256, b""));
    let with_reference = content_address::store_path("x", &flat, &[base()].into());
    assert!(with_reference.is_err());
}

proptest! {
    #[test]
    fn no_cut_upload_is_believed(at in 0..TREE_ZST.len()) {
        prop_assert!(verify(&TREE_ZST[..at], &expectation()).is_err());
    }

    #[test]
    fn no_changed_upload_has_the_hash_it_had(at in 0..TREE_ZST.len(), to: u8) {
        prop_assume!(TREE_ZST[at] != to);
        let mut changed = TREE_ZST.to_vec();
        changed[at] = to;
        let file_hash = Some(NarHash(hash(HashAlgorithm::Sha256, TREE_ZST).digest_as_bytes().try_into().unwrap()));
        let claim = Expectation { file_hash, ..expectation() };
        prop_assert!(verify(changed.as_slice(), &claim).is_err());
    }

    #[test]
    fn a_reference_is_found_wherever_it_lies(before in 0..300_000_usize, after in 0..100_usize, step in 1..9000_usize) {
        struct Steps<'a>(&'a [u8], usize);
        impl io::Read for Steps<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let most = buffer.len().min(self.1);
                io::Read::read(&mut self.0, &mut buffer[..most])
            }
        }
        let contents = [vec![b'0'; before], base().hash().to_string().into_bytes(), vec![b'z'; after]].concat();
        let mut nar = Encoder::new(Vec::new()).unwrap();
        nar.start_directory(None).unwrap();
        nar.regular(Some(b"f"), true, &contents).unwrap();
        nar.end_directory().unwrap();
        let nar = nar.finish().unwrap();
        let verified = verify_nar(Steps(&nar, step), &expectation()).unwrap();
        prop_assert_eq!(verified.references, BTreeSet::from([base()]));
        prop_assert_eq!(verified.nar_size, nar.len() as u64);
        let Some(Node::Regular { size, executable: true, .. }) = verified.listing.find("f") else { panic!() };
        prop_assert_eq!(*size, contents.len() as u64);
    }
}
