//! From what a provider calls somebody to usernames that can be had here.

use gradient_domain::Username;

use super::OidcIdentity;

/// How many names with a number behind are tried.
const NUMBERED: u32 = 20;
/// Leaves room for any number.
const MAX_LENGTH: usize = 39;

/// Usernames for somebody new, the one that fits best first; `random` is the last resort.
pub fn usernames(identity: &OidcIdentity, random: u32) -> impl Iterator<Item = Username> {
    let local_part = identity.email.as_ref().and_then(|email| email.as_str().split('@').next().map(str::to_owned));
    let base = [identity.username.clone(), local_part].into_iter().flatten().map(|text| tamed(&text));
    let base = base.into_iter().find(|text| text.parse::<Username>().is_ok()).unwrap_or_else(|| "user".to_owned());
    let numbered = (2..=NUMBERED).map(Some).chain([Some(random)]);
    [None].into_iter().chain(numbered).filter_map(move |number| match number {
        None => base.parse().ok(),
        Some(number) => format!("{base}-{number}").parse().ok(),
    })
}

/// The text without what no username has: of an address its local part, other characters as single `-`.
fn tamed(text: &str) -> String {
    let text = text.split('@').next().unwrap_or_default();
    let mut tamed = String::new();
    for character in text.chars().take(MAX_LENGTH) {
        match character {
            letter if letter.is_ascii_alphanumeric() => tamed.push(letter),
            _ if tamed.ends_with(['-', '_']) => {}
            '_' => tamed.push('_'),
            _ => tamed.push('-'),
        }
    }
    tamed.trim_matches(['-', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(username: Option<&str>, email: Option<&str>) -> Vec<String> {
        let identity = OidcIdentity {
            issuer: String::new(),
            subject: String::new(),
            email: email.map(|email| email.parse().unwrap()),
            email_verified: true,
            username: username.map(str::to_owned),
            name: None,
        };
        usernames(&identity, 4711).map(|name| name.to_string()).collect()
    }

    #[test]
    fn the_providers_name_is_taken_as_far_as_it_can_be() {
        let check = |username: &str, expected: &str| assert_eq!(names(Some(username), None)[0], expected, "{username}");
        check("Alice", "Alice");
        check("alice@example.com", "alice");
        check("CORP\\alice.b", "CORP-alice-b");
        check("__zoë  müller--", "zo-m-ller");
        check(&"x".repeat(200), &"x".repeat(39));
    }

    #[test]
    fn what_is_no_name_gives_way_to_the_address_or_to_a_number() {
        assert_eq!(names(Some("ab"), Some("carol@example.com"))[0], "carol");
        assert_eq!(names(Some("root"), Some("root@example.com"))[0], "user");
        assert_eq!(names(Some("日本"), None)[0], "user");
        let all = names(None, Some("alice@example.com"));
        assert_eq!((all[0].as_str(), all[1].as_str(), all.last().unwrap().as_str()), ("alice", "alice-2", "alice-4711"));
        let longest = names(Some(&"x".repeat(200)), None);
        assert_eq!(longest.len(), all.len(), "every one is a username");
    }
}
