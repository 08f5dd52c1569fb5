use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> RepositoryUrl {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn check_kind(text: &str, kind: RepositoryKind, git: &str, host: Option<&str>) {
    let url = parse(text);
    assert_eq!((url.kind(), url.to_git().as_str(), url.host()), (kind, git, host), "{text:?}");
    assert_eq!(parse(url.as_str()), url);
}

#[test]
fn every_form_is_read() {
    use RepositoryKind::{Git, Http, Https, Local, Ssh};
    check_kind("https://example.com/a/b.git", Https, "https://example.com/a/b.git", Some("example.com"));
    check_kind("git+https://Example.com/a", Https, "https://example.com/a", Some("example.com"));
    check_kind("http://[::1]:8080/a", Http, "http://[::1]:8080/a", Some("::1"));
    check_kind("http://0x7f.1/a", Http, "http://127.0.0.1/a", Some("127.0.0.1"));
    check_kind("ssh://git@example.com:2222/a/b", Ssh, "ssh://git@example.com:2222/a/b", Some("example.com"));
    check_kind("git+ssh://git@example.com/a", Ssh, "ssh://git@example.com/a", Some("example.com"));
    check_kind("git@example.com:a/b.git", Ssh, "git@example.com:a/b.git", Some("example.com"));
    check_kind("example.com:a", Ssh, "example.com:a", Some("example.com"));
    check_kind("git://example.com/a", Git, "git://example.com/a", Some("example.com"));
    check_kind("file:///srv/a%20b.git", Local, "/srv/a b.git", None);
    check_kind("git+file:///srv/a", Local, "/srv/a", None);
    check_kind("/srv/a.git", Local, "/srv/a.git", None);
}

#[test]
fn ports_default_to_the_protocol() {
    assert_eq!(parse("https://h.example/a").port(), Some(443));
    assert_eq!(parse("git@h.example:a").port(), Some(22));
    assert_eq!(parse("git://h.example:99/a").port(), Some(99));
    assert_eq!(parse("/a").port(), None);
}

#[test]
fn nix_gets_a_flake_reference() {
    let rev = "0123456789012345678901234567890123456789";
    let check = |text: &str, expected: &str| {
        assert_eq!(parse(text).to_nix_flake_url(Some("main"), Some(rev)), format!("{expected}?ref=main&rev={rev}"));
    };
    check("https://example.com/a", "git+https://example.com/a");
    check("git@example.com:a/b.git", "git+ssh://git@example.com/a/b.git");
    check("/srv/a b".replace(' ', "%").as_str(), "git+file:///srv/a%25b");
    check("file:///srv/a%3Fb", "git+file:///srv/a%3Fb");
    assert_eq!(parse("https://example.com/a").to_nix_flake_url(None, None), "git+https://example.com/a");
    assert_eq!(parse("/a").to_nix_flake_url(Some("x&rev=y"), None), "git+file:///a?ref=x%26rev%3Dy");
}

#[test]
fn what_is_dangerous_or_nonsense_is_refused() {
    use RepositoryUrlError::{Character, Form, Host, Length, Option, Path, Query};
    for (text, expected) in [
        ("", Length),
        ("   ", Length),
        ("--upload-pack=/bin/sh", Form),
        ("-oProxyCommand=x:y", Option),
        ("ssh://-oProxyCommand=x/y", Option),
        ("ssh://-user@host.example/y", Option),
        ("ssh://%2doProxyCommand/y", Host),
        ("host.example:-path", Option),
        ("ssh://host.example/-path", Option),
        ("https://host.example//-path", Option),
        ("ext::sh -c id", Character),
        ("ext::sh", Form),
        ("fd::3", Form),
        ("ftp://example.com/a", Form),
        ("javascript://example.com/a", Form),
        ("https://example.com", Path),
        ("https://example.com/", Path),
        ("https:///a", Path),
        ("ssh:///a", Host),
        ("https://exa mple.com/a", Character),
        ("https://example.com\\@evil.example/a", Character),
        ("https://example.com/a\u{0}", Character),
        ("https://example.com/a\nb", Character),
        ("https://example.com/a?ref=b", Query),
        ("https://example.com/a#b", Query),
        ("ssh://exa$mple/a", Host),
        ("owner/name", Form),
        ("./a", Form),
        ("file://other.example/a", Host),
        ("file:///a%0ab", Character),
        ("file:///a%zz", Form),
    ] {
        assert_eq!(text.parse::<RepositoryUrl>().map(|url| url.to_git()), Err(expected), "{text:?}");
    }
    assert_eq!("a:b".repeat(1000).parse::<RepositoryUrl>(), Err(Length));
}

#[test]
fn credentials_are_not_shown() {
    let url = parse("https://alice:s3cr3t@example.com/a");
    assert_eq!(url.to_string(), "https://example.com/a");
    assert!(!format!("{url:?}").contains("s3cr3t"));
    assert_eq!(serde_json::to_string(&url).unwrap(), "\"https://example.com/a\"");
    assert_eq!(url.to_git(), "https://alice:s3cr3t@example.com/a");
    assert_eq!(url.credentials(), ["alice", "s3cr3t"]);
    assert_eq!(parse("https://token@example.com/a").to_string(), "https://example.com/a");
    assert_eq!(parse("ssh://git:pw@example.com/a").to_string(), "ssh://git@example.com/a");
    assert!(parse("git@example.com:a").credentials().is_empty());
}

proptest! {
    #[test]
    fn no_text_leads_to_an_option_or_a_panic(text in "(https|ssh|git|file|git\\+ssh)?(://|:)?[-a-z@:/.%\\[\\]0-9]{0,30}") {
        if let Ok(url) = text.parse::<RepositoryUrl>() {
            prop_assert!(!url.to_git().starts_with('-'));
            prop_assert!(url.host().is_none_or(|host| !host.starts_with('-')));
            prop_assert_eq!(url.is_local(), url.host().is_none());
            prop_assert_eq!(url.to_string().parse::<RepositoryUrl>().map(|u| u.to_string()), Ok(url.to_string()));
        }
    }
}
