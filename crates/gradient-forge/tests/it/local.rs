use std::{fs, path::Path};

use gradient_forge::{Forge, ForgeError, ForgeSettings, HeadCommit};

use crate::repository::{Repository, forge, script, settings};

#[tokio::test]
async fn the_head_of_the_repository_and_of_a_branch() {
    let repository = Repository::new();
    let head = forge().head(&repository.url(), None, None).await.unwrap();
    let expected = HeadCommit {
        hash: repository.hash("main"),
        message: "second\n\nwith a body".into(),
        author_name: "A. U. Thor".into(),
        author_email: "author@example.org".into(),
        branch: Some("main".into()),
        known_hosts: None,
    };
    assert_eq!(head, expected);
    assert_eq!(forge().head(&repository.url(), Some("main"), None).await.unwrap(), expected);
    let url = format!("file://{}", repository.path().display()).parse().unwrap();
    assert_eq!(forge().head(&url, Some("refs/heads/main"), None).await.unwrap(), expected);

    let branch = forge().head(&repository.url(), Some("feature/x"), None).await.unwrap();
    assert_eq!(
        (branch.hash, &*branch.message, branch.branch.as_deref()),
        (repository.hash("feature/x"), "first", Some("feature/x"))
    );
}

#[tokio::test]
async fn what_the_repository_does_not_have() {
    let repository = Repository::new();
    // Neither a tag, nor the end of a branch's name, nor another branch that ends like this.
    repository.git(&["branch", "a/refs/heads/b"]);
    for name in ["gone", "v1", "x", "b"] {
        let error = forge().head(&repository.url(), Some(name), None).await.unwrap_err();
        assert!(matches!(&error, ForgeError::BranchMissing { branch } if branch == name), "{name}: {error}");
    }
    let empty = tempfile::tempdir().unwrap();
    let url = empty.path().to_str().unwrap().parse().unwrap();
    let error = forge().head(&url, None, None).await.unwrap_err();
    assert!(
        matches!(&error, ForgeError::Unreachable { words } if words.contains("not appear to be a git repository")),
        "{error}"
    );
    std::process::Command::new("git").args(["init", "--quiet", "--bare"]).arg(empty.path()).status().unwrap();
    assert!(matches!(forge().head(&url, None, None).await, Err(ForgeError::Empty)));
}

#[tokio::test]
async fn a_certain_commit() {
    let repository = Repository::new();
    let first = repository.hash("main~1");
    for hash in [&first, &first.to_uppercase()] {
        let commit = forge().commit(&repository.url(), hash, None).await.unwrap();
        assert_eq!((&commit.hash, &*commit.message, commit.branch), (&first, "first", None));
    }
    // A commit that does not exist, a file, a tree, a tag.
    for hash in
        ["0".repeat(40), "f".repeat(40), repository.hash("main:file"), repository.hash("main^{tree}"), repository.hash("v1")]
    {
        let error = forge().commit(&repository.url(), &hash, None).await.unwrap_err();
        assert!(matches!(&error, ForgeError::CommitMissing { commit } if *commit == hash), "{hash}: {error:?}");
    }
    for text in ["main", "HEAD", "", "--upload-pack=x", &first[..12], &format!("{first}0")] {
        let error = forge().commit(&repository.url(), text, None).await.unwrap_err();
        assert!(matches!(error, ForgeError::InvalidCommit { .. }), "{text}");
    }
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let repository = Repository::new();
    let before = repository.git(&["for-each-ref"]);
    let directory = tempfile::tempdir().unwrap();
    let git = script(directory.path(), "git", "pwd >> \"$(dirname \"$0\")/places\"; exec git \"$@\"");
    let forge = Forge::new(ForgeSettings { git, ..settings() });
    forge.head(&repository.url(), None, None).await.unwrap();
    let error = forge.head(&"/nonexistent/repository".parse().unwrap(), None, None).await.unwrap_err();

    let places = fs::read_to_string(directory.path().join("places")).unwrap();
    assert_eq!(places.lines().count(), 4, "{places}");
    for place in places.lines() {
        assert!(!Path::new(place).exists() && !error.to_string().contains(place), "{place}: {error}");
    }
    assert_eq!(repository.git(&["for-each-ref"]), before);
}
