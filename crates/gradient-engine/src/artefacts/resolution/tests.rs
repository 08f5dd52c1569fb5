use super::*;

const BASENAME: &str = "2vmnnlg2n5iiwmvhg8957fprn2bw0159-app";

fn listing(links: &[(&str, &str)]) -> Listing {
    let file = |nar_offset| Node::Regular { executable: false, size: 1, nar_offset };
    let inner = BTreeMap::from([("deep".to_owned(), file(2)), ("up".to_owned(), Node::Symlink { target: "../file".to_owned() })]);
    let mut entries = BTreeMap::from([("file".to_owned(), file(1)), ("dir".to_owned(), Node::Directory { entries: inner })]);
    for (name, target) in links {
        entries.insert((*name).to_owned(), Node::Symlink { target: (*target).to_owned() });
    }
    Listing::new(Node::Directory { entries })
}

fn offset(links: &[(&str, &str)], path: &str) -> Option<u64> {
    match resolve(&listing(links), &BASENAME.parse().unwrap(), path)? {
        Found::File { nar_offset, .. } => Some(nar_offset),
        Found::Directory(_) => None,
    }
}

#[test]
fn files_are_found_by_their_path() {
    assert_eq!(offset(&[], "file"), Some(1));
    assert_eq!(offset(&[], "/dir//deep"), Some(2));
    for nothing in ["", "dir", "nothing", "file/deep", "dir/../file", "./file", "..", "file/.."] {
        assert_eq!(offset(&[], nothing), None, "{nothing}");
    }
    assert!(matches!(resolve(&listing(&[]), &BASENAME.parse().unwrap(), "dir/"), Some(Found::Directory(_))));
}

#[test]
fn symlinks_are_followed_inside_the_store_path() {
    assert_eq!(offset(&[("to", "dir")], "to/deep"), Some(2));
    assert_eq!(offset(&[("to", "dir")], "to/up"), Some(1));
    assert_eq!(offset(&[("to", &format!("/nix/store/{BASENAME}/dir/deep"))], "to"), Some(2));
    assert_eq!(offset(&[("a", "b"), ("b", "./dir/../file")], "a"), Some(1));
}

#[test]
fn symlinks_that_lead_elsewhere_lead_nowhere() {
    let back = format!("../{BASENAME}/file");
    let longer = format!("/nix/store/{BASENAME}-more/file");
    for target in ["..", "../x", "/etc/passwd", "/nix/store", "/file", "dir/../../file", "gone", &back, &longer] {
        assert_eq!(offset(&[("to", target)], "to"), None, "{target}");
    }
    let root = Listing::new(Node::Symlink { target: "/etc/passwd".to_owned() });
    assert_eq!(resolve(&root, &BASENAME.parse().unwrap(), ""), None);
}

#[test]
fn loops_end() {
    assert_eq!(offset(&[("a", "a")], "a"), None);
    assert_eq!(offset(&[("a", "b"), ("b", "a")], "a/x"), None);
    assert_eq!(offset(&[("a", "a/a")], "a"), None);
}
