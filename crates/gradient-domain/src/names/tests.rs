use proptest::prelude::*;

use super::*;

fn accepts<T: FromStr<Err = NameError>>(texts: &[&str]) {
    for text in texts {
        assert!(text.parse::<T>().is_ok(), "{text:?} should be a name");
    }
}

fn refuses<T: FromStr<Err = NameError> + fmt::Debug>(texts: &[&str]) {
    for text in texts {
        assert!(text.parse::<T>().is_err(), "{text:?} should be refused");
    }
}

#[test]
fn slugs() {
    let longest = "a".repeat(64);
    let too_long = "a".repeat(65);
    accepts::<OrganizationName>(&["a", "0", "acme", "acme-2", "a--b", "build-request", &longest]);
    refuses::<OrganizationName>(&["", "-", "-a", "a-", "Acme", "a_b", "a b", "ä", "a/b", "available", "public", &too_long]);
    refuses::<ProjectName>(&["build-request", "public", ".", ".."]);
    accepts::<ProjectName>(&["build-requests"]);
}

#[test]
fn roles_are_built_in_or_slugs() {
    accepts::<RoleName>(&["Admin", "Write", "View", "deployer", "admin"]);
    refuses::<RoleName>(&["Deployer", "ADMIN", ""]);
}

#[test]
fn usernames() {
    accepts::<Username>(&["bob", "Alice_1", "a-b-c", "administrators"]);
    refuses::<Username>(&["ab", "_ab", "ab-", "a__b", "a_-b", "a b", "älice", "root", "ADMIN", "api", &"a".repeat(51)]);
}

#[test]
fn display_names_are_trimmed() {
    assert_eq!("  Zoë O'Hara-Smith Jr.  ".parse::<DisplayName>().unwrap().as_str(), "Zoë O'Hara-Smith Jr.");
    accepts::<DisplayName>(&["x", "日本", "my_key", &"é".repeat(100)]);
    refuses::<DisplayName>(&["", "   ", "a\nb", "a<b>", "a\u{202e}b", &"é".repeat(101)]);
}

#[test]
fn emails() {
    accepts::<Email>(&["alice@example.com", "a.b+c@sub.example.org", " a@b.c ", "x@bücher.example"]);
    refuses::<Email>(&["", "alice", "@example.com", "a@", "a@b", "a b@c.d", "a@b@c.d", ".a@b.c", "a..b@c.d", "a@-b.c", "a@b..c"]);
}

#[test]
fn an_error_names_the_field_and_the_rule() {
    let error = "A".parse::<CacheName>().unwrap_err();
    assert_eq!(error.field, NameField::Cache);
    insist(&error.to_string(), "cache name: must be 1 to 64 characters");
    let json = serde_json::from_str::<Username>("\"x\"").unwrap_err();
    insist(&json.to_string(), "username: must be 3 to 50 characters");
}

fn insist(text: &str, beginning: &str) {
    assert!(text.starts_with(beginning), "{text:?} should begin with {beginning:?}");
}

proptest! {
    #[test]
    fn what_parses_is_kept(text in "\\PC{0,70}") {
        if let Ok(name) = text.parse::<OrganizationName>() {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!(text.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-')));
        }
        if let Ok(name) = text.parse::<DisplayName>() {
            prop_assert_eq!(name.as_str().parse::<DisplayName>(), Ok(name.clone()));
        }
        if let Ok(email) = text.parse::<Email>() {
            prop_assert_eq!(email.as_str().parse::<Email>(), Ok(email.clone()));
        }
    }

    #[test]
    fn slugs_round_trip_through_json(text in "[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?") {
        prop_assume!(!RESERVED_SLUGS.contains(&text.as_str()));
        let name: CacheName = text.parse().unwrap();
        let json = serde_json::to_string(&name).unwrap();
        prop_assert_eq!(serde_json::from_str::<CacheName>(&json).unwrap(), name);
    }
}
