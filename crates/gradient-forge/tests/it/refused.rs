use std::net::TcpListener;

use gradient_forge::{Forge, ForgeError, ForgeSettings};

use crate::repository::{Repository, forge, script, settings};

#[tokio::test]
async fn hosts_that_are_not_public_are_not_asked() {
    // A git that leaves a trace: it must not even be started.
    let directory = tempfile::tempdir().unwrap();
    let git = script(directory.path(), "git", "touch \"$(dirname \"$0\")/was-run\"");
    let forge = Forge::new(ForgeSettings { git, allow_local: false, ..settings() });
    for url in [
        "https://localhost/x",
        "https://127.0.0.1/x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        "ssh://git@2130706433/x",
        "https://0/x",
        "http://[::1]:8080/x",
        "https://[::ffff:169.254.169.254]/x",
        "http://169.254.169.254/latest/meta-data",
        "ssh://git@10.0.0.1/x",
        "git@192.168.1.1:x",
        "git@localhost:x/y",
        "git://172.16.0.1/x",
        "git+ssh://git@[fd00::1]/x",
    ] {
        let error = forge.head(&url.parse().unwrap(), None, None).await.unwrap_err();
        assert!(matches!(error, ForgeError::HostRefused { .. }), "{url}: {error:?}");
        let error = forge.commit(&url.parse().unwrap(), &"0".repeat(40), None).await.unwrap_err();
        assert!(matches!(error, ForgeError::HostRefused { .. }), "{url}: {error:?}");
    }
    for url in ["/etc", "file:///etc", "git+file:///etc"] {
        let error = forge.head(&url.parse().unwrap(), None, None).await.unwrap_err();
        assert!(matches!(error, ForgeError::LocalRefused), "{url}: {error:?}");
    }
    assert!(!directory.path().join("was-run").exists());
}

#[tokio::test]
async fn hostile_branches_are_not_asked_for() {
    let repository = Repository::new();
    let trace = repository.path().join("trace");
    let option = format!("--upload-pack=touch {}", trace.display());
    for branch in [&*option, "-x", "*", "main:main", "a b", "", "main\n", "$(touch x)"] {
        let result = forge().head(&repository.url(), Some(branch), None).await;
        assert!(
            matches!(result, Err(ForgeError::InvalidBranch { .. } | ForgeError::BranchMissing { .. })),
            "{branch}: {result:?}"
        );
    }
    assert!(!trace.exists());
}

#[tokio::test]
async fn a_repository_that_cannot_be_reached_is_told_in_words() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    for url in [
        format!("http://user:s3cret@127.0.0.1:{port}/x"),
        format!("git://127.0.0.1:{port}/x"),
        format!("ssh://127.0.0.1:{port}/x"),
    ] {
        let error = forge().head(&url.parse().unwrap(), None, None).await.unwrap_err();
        let ForgeError::Unreachable { words } = &error else { panic!("{url}: {error:?}") };
        assert!(words.contains("fatal: ") && !words.contains("s3cret") && words.len() < 1100, "{words}");
    }
    let error = forge().head(&"https://no-such-host.invalid/x".parse().unwrap(), None, None).await.unwrap_err();
    assert!(matches!(&error, ForgeError::Unreachable { words } if words.contains("no-such-host.invalid")), "{error:?}");
}
