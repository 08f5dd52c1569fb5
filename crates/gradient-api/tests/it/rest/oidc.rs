//! Sign-in at a real OpenID provider, by a browser that is an HTTP client with a cookie jar.

mod browser;

use gradient_domain::Secret;
use gradient_engine::{EngineSettings, OidcSettings};
use gradient_test_support::deployment::{MailServer, MailServerSettings, OidcProvider, OidcProviderSettings};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PASSWORD, email_verification};
use crate::server::Server;
use browser::{Browser, Page};

gradient_test_support::both_databases!(
    whoever_the_provider_knows_gets_an_account,
    only_the_browser_that_began_it_ends_it,
    a_code_is_good_once,
    what_the_provider_does_not_vouch_for_is_refused,
    an_address_is_no_way_into_an_account,
    an_address_that_was_never_proven_is_given_up,
    an_account_without_a_password,
    passwords_can_be_switched_off,
    a_provider_that_is_down_is_not_the_end,
);

const CALLBACK: &str = "/api/v1/auth/oidc/callback";

/// A server whose people sign in at a provider.
struct Trial {
    server: Server,
    provider: OidcProvider,
    settings: OidcProviderSettings,
    _folder: TempDir,
}

impl Trial {
    /// `None` where there is no provider.
    async fn start(database: &str) -> Option<Self> {
        Self::with(database, |_| {}).await
    }

    async fn with(database: &str, change: impl FnOnce(&mut EngineSettings)) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let accounts = json!({
            "1": {"email": "alice@example.com", "email_verified": true, "preferred_username": "alice", "name": "Alice Ä."},
            "2": {"email": "alice@example.org", "email_verified": true, "preferred_username": "Alice"},
            "3": {"email": "Alice@example.com", "email_verified": true, "preferred_username": "mallory"},
            "4": {"preferred_username": "nobody"},
            "5": {"email": "dave@example.com", "email_verified": false, "preferred_username": "dave"},
        });
        let settings = OidcProviderSettings { folder: folder.path().to_owned(), accounts, foreign_keys: false };
        let provider = OidcProvider::start(&settings).unwrap()?;
        let secret = Some(Secret::new(OidcProvider::CLIENT_SECRET.to_owned()));
        let scopes = vec!["profile".to_owned(), "email".to_owned()];
        let oidc = OidcSettings::new(provider.issuer(), OidcProvider::CLIENT_ID.to_owned(), secret, scopes).unwrap();
        let mut engine = EngineSettings { oidc: Some(oidc), ..EngineSettings::default() };
        change(&mut engine);
        Some(Self { server: Server::with_engine(database, engine).await, provider, settings, _folder: folder })
    }

    fn browser(&self) -> Browser<'_> {
        Browser::new(&self.server.url)
    }

    /// Signs in as the provider's account: the whole way, up to the answer of the callback.
    async fn sign_in(&self, subject: &str) -> (Browser<'_>, Page) {
        let mut browser = self.browser();
        let callback = browser.callback(&format!("{}/api/v1/auth/oidc/login", self.server.url), subject).await;
        let page = browser.get(&callback).await;
        (browser, page)
    }
}

/// Status and code of a callback that did not work.
#[track_caller]
fn error(page: &Page) -> (u16, &str) {
    assert!(page.location.is_none(), "{page:?}");
    (page.status, page.body["code"].as_str().unwrap())
}

async fn whoever_the_provider_knows_gets_an_account(database: &str) {
    let Some(trial) = Trial::with(database, |settings| {
        settings.frontend_url = Some("https://pages.example.com/ci".to_owned());
        settings.enable_registration = false;
    })
    .await
    else {
        return;
    };
    assert_eq!(trial.server.anonymous().get("/config").await.message()["oidc_enabled"], json!(true));
    let (browser, page) = trial.sign_in("1").await;
    assert_eq!((page.status, page.location.as_deref()), (302, Some("https://pages.example.com/ci")), "{page:?}");
    let cookie = page.cookies.iter().find(|cookie| cookie.starts_with("jwt_token=")).unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part) && !cookie.contains("Max-Age"), "{part} is missing in {cookie}");
    }
    assert!(browser.cookie("oidc_csrf").is_none(), "it is used up");
    let session = browser.cookie("jwt_token").unwrap();
    let user = trial.server.with(session).get("/user").await.message();
    let shown = ["username", "name", "email", "superuser"].map(|field| user[field].clone());
    assert_eq!(shown, [json!("alice"), json!("Alice Ä."), json!("alice@example.com"), json!(false)]);

    // The same person again, and another one with the same name.
    let (browser, _) = trial.sign_in("1").await;
    assert_eq!(trial.server.with(browser.cookie("jwt_token").unwrap()).get("/user").await.message()["id"], user["id"]);
    let (browser, _) = trial.sign_in("2").await;
    let other = trial.server.with(browser.cookie("jwt_token").unwrap()).get("/user").await.message();
    assert_eq!(other["username"], json!("Alice-2"));

    // Nothing of the provider's account is needed to be the same person.
    let mut browser = trial.browser();
    let url = trial.server.anonymous().post("/auth/oauth/authorize", json!({})).await.message();
    assert!(url.as_str().unwrap().starts_with(&format!("{}/auth?", trial.provider.issuer())), "{url}");
    let url = browser.authorize().await;
    let callback = browser.callback(&url, "1").await;
    assert_eq!(browser.get(&callback).await.status, 302);
}

async fn only_the_browser_that_began_it_ends_it(database: &str) {
    let Some(trial) = Trial::start(database).await else { return };
    let begin = format!("{}/api/v1/auth/oidc/login", trial.server.url);
    let (mut one, mut other) = (trial.browser(), trial.browser());
    let page = one.get(&begin).await;
    let cookie = page.cookies.iter().find(|cookie| cookie.starts_with("oidc_csrf=")).unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/api/v1/auth", "Max-Age=600"] {
        assert!(cookie.contains(part), "{part} is missing in {cookie}");
    }
    let callback = one.callback(&begin, "1").await;
    other.callback(&begin, "1").await;

    assert_eq!(error(&trial.browser().get(&callback).await), (400, "bad_request"), "without the cookie");
    assert_eq!(error(&other.get(&callback).await), (400, "bad_request"), "with the cookie of another attempt");
    assert!(other.cookie("oidc_csrf").is_none(), "a failed attempt is over, too");
    let kept = one.cookie("oidc_csrf").unwrap().to_owned();
    for forged in ["x".to_owned(), format!("{}AAAA", &kept[..kept.len() - 4]), kept[4..].to_owned()] {
        let mut forger = trial.browser();
        forger.set_cookie("oidc_csrf", &forged);
        assert_eq!(error(&forger.get(&callback).await), (400, "bad_request"), "{forged}");
    }
    let state = callback.split("state=").nth(1).unwrap().split('&').next().unwrap();
    for path in [String::new(), format!("?state={state}"), "?code=x&state=x".to_owned(), "?code=x".to_owned()] {
        let mut browser = trial.browser();
        browser.set_cookie("oidc_csrf", &kept);
        let page = browser.get(&format!("{}{CALLBACK}{path}", trial.server.url)).await;
        assert_eq!(error(&page), (400, "bad_request"), "{path}");
    }
    assert_eq!(one.get(&callback).await.status, 302, "nothing of that was in the way");
}

async fn a_code_is_good_once(database: &str) {
    let Some(trial) = Trial::start(database).await else { return };
    let mut browser = trial.browser();
    let callback = browser.callback(&format!("{}/api/v1/auth/oidc/login", trial.server.url), "1").await;
    let kept = browser.cookie("oidc_csrf").unwrap().to_owned();
    let page = browser.get(&callback).await;
    assert_eq!((page.status, page.location.as_deref()), (302, Some("/")));
    assert_eq!(error(&browser.get(&callback).await), (400, "bad_request"), "the cookie is gone");
    browser.set_cookie("oidc_csrf", &kept);
    assert_eq!(error(&browser.get(&callback).await), (401, "unauthorized"), "and so is the code");
}

async fn what_the_provider_does_not_vouch_for_is_refused(database: &str) {
    let Some(mut trial) = Trial::start(database).await else { return };
    let begin = format!("{}/api/v1/auth/oidc/login", trial.server.url);
    {
        // A token that was asked for by another attempt has another nonce.
        let mut browser = trial.browser();
        let url = browser.get(&begin).await.location.unwrap();
        let nonce = url.split("nonce=").nth(1).unwrap().split('&').next().unwrap();
        let callback = browser.callback(&url.replace(nonce, "another"), "1").await;
        assert_eq!(error(&browser.get(&callback).await), (401, "unauthorized"), "the nonce of another attempt");

        // The same for the code challenge: the code is for another verifier.
        let url = browser.get(&begin).await.location.unwrap();
        let challenge = url.split("code_challenge=").nth(1).unwrap().split('&').next().unwrap();
        let callback = browser.callback(&url.replace(challenge, &"A".repeat(43)), "1").await;
        assert_eq!(error(&browser.get(&callback).await), (401, "unauthorized"), "the challenge of another attempt");

        // The user does not want to.
        let url = browser.get(&begin).await.location.unwrap();
        let callback = browser.abort(&url).await;
        let page = browser.get(&callback).await;
        assert_eq!(error(&page), (401, "unauthorized"));
        assert!(page.body["message"].as_str().unwrap().contains("access_denied"), "{page:?}");
    }
    // New keys are learned, keys that are not the provider's are not.
    trial.provider.restart(&trial.settings).unwrap();
    assert_eq!(trial.sign_in("1").await.1.status, 302, "after a change of keys");
    trial.provider.restart(&OidcProviderSettings { foreign_keys: true, ..trial.settings.clone() }).unwrap();
    assert_eq!(error(&trial.sign_in("1").await.1), (401, "unauthorized"), "an unknown key");
    trial.provider.restart(&trial.settings).unwrap();
    assert_eq!(trial.sign_in("1").await.1.status, 302);
}

async fn an_address_is_no_way_into_an_account(database: &str) {
    let Some(trial) = Trial::start(database).await else { return };
    trial.server.signed_in("alice").await;
    let (browser, page) = trial.sign_in("1").await;
    assert_eq!(error(&page), (409, "already_exists"));
    assert!(browser.cookie("jwt_token").is_none());
    assert_eq!(error(&trial.sign_in("3").await.1), (409, "already_exists"), "whatever the case");
    let (_, page) = trial.sign_in("4").await;
    assert_eq!(error(&page), (400, "invalid_email"), "without an address there is no account");
}

async fn an_address_that_was_never_proven_is_given_up(database: &str) {
    let folder = TempDir::new().unwrap();
    let Some(mails) = MailServer::start(folder.path(), &MailServerSettings::default()).unwrap() else { return };
    let Some(trial) = Trial::with(database, |settings| email_verification::ask_for_proof(settings, &mails)).await else { return };
    let register = async |username: &str, email: &str| {
        let body = json!({"username": username, "name": "Somebody", "email": email, "password": PASSWORD});
        let request = trial.server.http.post(format!("{}/api/v1/auth/basic/register", trial.server.url)).json(&body);
        assert_eq!(request.header("x-forwarded-for", "192.0.2.1").send().await.unwrap().status().as_u16(), 200);
    };
    let login = async |username: &str| {
        let body = json!({"loginname": username, "password": PASSWORD});
        trial.server.anonymous().post("/auth/basic/login", body).await
    };
    register("mallory", "alice@example.com").await;
    let (browser, page) = trial.sign_in("1").await;
    assert_eq!(page.status, 302, "{page:?}");
    let alice = trial.server.with(browser.cookie("jwt_token").unwrap());
    assert_eq!(alice.get("/user").await.message()["email"], json!("alice@example.com"));
    assert_eq!(login("mallory").await.error(), (401, "invalid_credentials"), "that account is gone");

    // Somebody who has been let in somewhere stays there, without the address.
    register("carol", "alice@example.org").await;
    alice.organization("acme", false).await;
    alice.post("/orgs/acme/users", json!({"user": "carol", "role": "View"})).await.message();
    assert_eq!(trial.sign_in("2").await.1.status, 302);
    assert_eq!(login("carol").await.error(), (400, "email_unverified"));
    assert_eq!(alice.get("/orgs/acme/users").await.message()[1]["id"], json!("carol"));

    register("eve", "dave@example.com").await;
    assert_eq!(error(&trial.sign_in("5").await.1), (409, "already_exists"), "nobody has proven it");
    assert_eq!(error(&trial.sign_in("3").await.1), (409, "already_exists"), "one that is proven stays with its holder");
}

async fn an_account_without_a_password(database: &str) {
    let Some(trial) = Trial::start(database).await else { return };
    let (browser, _) = trial.sign_in("1").await;
    let alice = trial.server.with(browser.cookie("jwt_token").unwrap());
    assert_eq!(alice.get("/user/settings").await.message()["is_oidc"], json!(true));
    for password in ["", PASSWORD] {
        let body = json!({"loginname": "alice", "password": password});
        assert_eq!(trial.server.anonymous().post("/auth/basic/login", body).await.error(), (401, "invalid_credentials"));
    }
    let change = alice.patch("/user/password", json!({"old_password": "", "new_password": PASSWORD})).await;
    assert_eq!(change.error(), (403, "forbidden"));
    assert!(change.sentence().contains("you have no password here"), "{change:?}");
    for (body, expected) in [
        (json!({}), (400, "bad_request")),
        (json!({"password": ""}), (403, "forbidden")),
        (json!({"confirm_username": "bob"}), (403, "forbidden")),
    ] {
        assert_eq!(alice.delete_with("/user", body.clone()).await.error(), expected, "{body}");
    }
    alice.delete_with("/user", json!({"confirm_username": "alice"})).await.message();
    assert_eq!(alice.get("/user").await.error(), (401, "unauthorized"));
    // Who has a password confirms with it.
    let bob = trial.server.signed_in("bob").await;
    let refused = trial.server.with(&bob).delete_with("/user", json!({"confirm_username": "bob"})).await;
    assert_eq!(refused.error(), (403, "forbidden"));
    // And the one who left can come back, as somebody new.
    assert_eq!(trial.sign_in("1").await.1.status, 302);
}

async fn passwords_can_be_switched_off(database: &str) {
    let Some(trial) = Trial::with(database, |settings| settings.oidc_required = true).await else { return };
    let config = trial.server.anonymous().get("/config").await.message();
    let flags = ["oidc_enabled", "oidc_required", "registration_enabled"].map(|flag| config[flag].clone());
    assert_eq!(flags, [json!(true), json!(true), json!(false)]);
    let body = json!({"username": "bob", "name": "Bob", "email": "bob@example.com", "password": PASSWORD});
    assert_eq!(trial.server.anonymous().post("/auth/basic/register", body).await.error(), (400, "registration_disabled"));
    for name in ["bob", "nobody"] {
        let body = json!({"loginname": name, "password": PASSWORD});
        assert_eq!(trial.server.anonymous().post("/auth/basic/login", body).await.error(), (401, "oauth_required"));
    }
    let (browser, page) = trial.sign_in("1").await;
    assert_eq!(page.status, 302);
    let key = json!({"name": "ci", "permissions": ["viewOrg"]});
    let key = trial.server.with(browser.cookie("jwt_token").unwrap()).key(key).await;
    trial.server.with(&key).get("/user").await.message();
}

async fn a_provider_that_is_down_is_not_the_end(database: &str) {
    let Some(mut trial) = Trial::start(database).await else { return };
    trial.provider.stop();
    for (method, path) in [(Method::GET, "/auth/oidc/login"), (Method::POST, "/auth/oauth/authorize")] {
        let answer = trial.server.anonymous().send(method, path, Some(Value::Null)).await;
        assert_eq!(answer.error(), (503, "unavailable"));
        assert!(answer.sentence().contains("OpenID provider"), "{answer:?}");
    }
    trial.server.signed_in("bob").await;
    trial.provider.restart(&trial.settings).unwrap();
    assert_eq!(trial.sign_in("1").await.1.status, 302);
}
