//! Proof of addresses, with a real mail server on the other side.

use std::time::Duration;

use gradient_domain::Moment;
use gradient_engine::{EngineSettings, MailSettings, MailTls};
use gradient_test_support::deployment::{Mail, MailServer, MailServerSettings};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, PASSWORD};
use crate::server::Server;

gradient_test_support::both_databases!(
    who_registers_signs_in_with_a_proven_address,
    a_link_is_good_once_and_another_mail_takes_none_away,
    an_address_that_is_never_proven_is_free_again,
    a_new_address_counts_once_it_is_proven,
    nobody_learns_who_has_an_account,
    a_mail_that_is_put_off_is_sent_again,
    without_a_mail_server_nothing_is_asked,
);

/// A server that wants proof, and where its mails go.
struct Trial {
    server: Server,
    mails: MailServer,
    _folder: TempDir,
}

/// Has the server ask for a proof of addresses.
pub(super) fn ask_for_proof(settings: &mut EngineSettings, mails: &MailServer) {
    let from = "Gradient <ci@example.com>".parse().unwrap();
    let mail = MailSettings { host: "127.0.0.1".to_owned(), port: Some(mails.port()), tls: MailTls::None, login: None, from };
    settings.mail = Some(mail);
    settings.require_email_verification = true;
    settings.email_pause = Duration::ZERO;
}

impl Trial {
    /// `None` where there is no mail server.
    async fn start(database: &str) -> Option<Self> {
        Self::with(database, &MailServerSettings::default(), |_| {}).await
    }

    async fn with(database: &str, mails: &MailServerSettings, change: impl FnOnce(&mut EngineSettings)) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mails = MailServer::start(folder.path(), mails).unwrap()?;
        let mut settings = EngineSettings::default();
        ask_for_proof(&mut settings, &mails);
        change(&mut settings);
        Some(Self { server: Server::with_engine(database, settings).await, mails, _folder: folder })
    }

    /// Registers somebody, from another machine: from this one it could be the superuser.
    async fn register(&self, username: &str) -> Answer {
        let email = format!("{username}@example.com");
        let body = json!({"username": username, "name": "Somebody", "email": email, "password": PASSWORD});
        let request = self.server.http.post(format!("{}/api/v1/auth/basic/register", self.server.url)).json(&body);
        let response = request.header("x-forwarded-for", "192.0.2.1").send().await.unwrap();
        Answer { status: response.status(), body: response.json().await.unwrap() }
    }

    async fn login(&self, username: &str, password: &str) -> Answer {
        self.server.anonymous().post("/auth/basic/login", json!({"loginname": username, "password": password})).await
    }

    async fn verify(&self, token: &str) -> Answer {
        self.server.anonymous().get(&format!("/auth/verify-email?token={token}")).await
    }

    async fn resend(&self, username: &str) -> Answer {
        self.server.anonymous().post("/auth/resend-verification", json!({"username": username})).await
    }

    /// The mail with this number.
    fn mail(&mut self, number: usize) -> Mail {
        self.mails.wait_for(number).unwrap().remove(number - 1)
    }
}

async fn who_registers_signs_in_with_a_proven_address(database: &str) {
    let Some(mut trial) = Trial::start(database).await else { return };
    assert_eq!(trial.server.anonymous().get("/config").await.message()["email_verification_enabled"], json!(true));
    let said = trial.register("alice").await.message();
    assert!(said.as_str().unwrap().contains("open the link in the mail"), "{said}");
    assert_eq!(trial.login("alice", "Wrong-Horse-7").await.error(), (401, "invalid_credentials"), "not a word to strangers");
    assert_eq!(trial.login("alice", PASSWORD).await.error(), (400, "email_unverified"));

    let mail = trial.mail(1);
    assert_eq!(mail.envelope()["to"], json!(["alice@example.com"]));
    assert_eq!(mail.envelope()["from"], json!("ci@example.com"));
    for line in ["From: Gradient <ci@example.com>", "To: alice@example.com", "Subject: Confirm your email address"] {
        assert!(mail.text().lines().any(|written| written == line), "{line} is missing in {}", mail.text());
    }
    assert!(mail.link().unwrap().starts_with(&format!("{}/api/v1/auth/verify-email?token=", trial.server.url)));

    assert_eq!(trial.verify("").await.error(), (400, "bad_request"));
    assert_eq!(trial.verify(&"x".repeat(43)).await.error(), (400, "bad_request"));
    assert_eq!(trial.login("alice", PASSWORD).await.error(), (400, "email_unverified"));
    // The link itself, as whoever opens the mail does.
    let opened = trial.server.http.get(mail.link().unwrap()).send().await.unwrap();
    assert_eq!(opened.json::<Value>().await.unwrap(), json!({"error": false, "message": "alice@example.com is verified"}));
    trial.login("alice", PASSWORD).await.message();
    trial.login("alice@example.com", PASSWORD).await.message();
    assert_eq!(trial.verify(mail.token().unwrap()).await.error(), (400, "bad_request"), "once");
}

async fn a_link_is_good_once_and_another_mail_takes_none_away(database: &str) {
    let Some(mut trial) = Trial::start(database).await else { return };
    for (number, name, used) in [(1, "alice", 0), (4, "bob", 1), (7, "carol", 2)] {
        trial.register(name).await.message();
        let mut links = vec![trial.mail(number).token().unwrap().to_owned()];
        for more in 1..3 {
            // Anybody can ask for it.
            trial.resend(name).await.message();
            links.push(trial.mail(number + more).token().unwrap().to_owned());
        }
        trial.verify(&links[used]).await.message();
        trial.login(name, PASSWORD).await.message();
        for link in &links {
            assert_eq!(trial.verify(link).await.error(), (400, "bad_request"), "one of them is enough");
        }
    }
}

async fn an_address_that_is_never_proven_is_free_again(database: &str) {
    let Some(mut trial) = Trial::start(database).await else { return };
    for name in ["mallory", "alice", "carol"] {
        trial.register(name).await.message();
    }
    let alice = trial.mails.wait_for(3).unwrap().into_iter().find(|mail| mail.envelope()["to"] == json!(["alice@example.com"]));
    trial.verify(alice.unwrap().token().unwrap()).await.message();
    let session = trial.server.login("alice", PASSWORD).await;
    let client = trial.server.with(&session);
    client.organization("acme", false).await;
    client.post("/orgs/acme/users", json!({"user": "carol", "role": "View"})).await.message();

    let reap = async |hours: u64| {
        let now = Moment::now().plus(Duration::from_hours(hours));
        trial.server.engine.reap(now).await.unwrap();
    };
    reap(47).await;
    assert_eq!(trial.login("mallory", PASSWORD).await.error(), (400, "email_unverified"));
    reap(49).await;
    assert_eq!(trial.login("mallory", PASSWORD).await.error(), (401, "invalid_credentials"), "it is gone");
    assert_eq!(trial.login("carol", PASSWORD).await.error(), (400, "email_unverified"), "a member of something stays");
    trial.login("alice", PASSWORD).await.message();
    trial.register("mallory").await.message();
}

async fn a_new_address_counts_once_it_is_proven(database: &str) {
    let Some(mut trial) = Trial::start(database).await else { return };
    for (number, name) in [(1, "alice"), (2, "bob")] {
        trial.register(name).await.message();
        let token = trial.mail(number).token().unwrap().to_owned();
        trial.verify(&token).await.message();
    }
    let session = trial.server.login("alice", PASSWORD).await;
    let change = async |trial: &Trial, email: &str| {
        trial.server.with(&session).patch("/user/settings", json!({"email": email, "name": "Alice"})).await
    };
    assert_eq!(change(&trial, "Bob@example.com").await.error(), (409, "already_exists"));
    let changed = change(&trial, "alice@example.org").await.message();
    assert_eq!((&changed["email"], &changed["name"]), (&json!("alice@example.com"), &json!("Alice")));
    assert_eq!(changed["pending_email"], json!("alice@example.org"));
    trial.login("alice@example.com", PASSWORD).await.message();
    assert_eq!(trial.login("alice@example.org", PASSWORD).await.error(), (401, "invalid_credentials"));

    let mail = trial.mail(3);
    assert_eq!(mail.envelope()["to"], json!(["alice@example.org"]));
    // Who changes their mind keeps the old one.
    assert_eq!(change(&trial, "alice@example.com").await.message()["pending_email"], json!(null));
    assert_eq!(trial.verify(mail.token().unwrap()).await.error(), (400, "bad_request"));

    change(&trial, "alice@example.org").await.message();
    let token = trial.mail(4).token().unwrap().to_owned();
    trial.verify(&token).await.message();
    let settings = trial.server.with(&session).get("/user/settings").await.message();
    assert_eq!((&settings["email"], &settings["pending_email"]), (&json!("alice@example.org"), &json!(null)));
    trial.login("alice@example.org", PASSWORD).await.message();

    // Somebody else may be faster.
    change(&trial, "carol@example.com").await.message();
    let token = trial.mail(5).token().unwrap().to_owned();
    trial.register("carol").await.message();
    assert_eq!(trial.verify(&token).await.error(), (409, "already_exists"));
    trial.login("alice@example.org", PASSWORD).await.message();
}

async fn nobody_learns_who_has_an_account(database: &str) {
    let Some(mut trial) = Trial::with(database, &MailServerSettings::default(), |settings| {
        settings.email_pause = Duration::from_hours(1);
        settings.frontend_url = Some("https://pages.example.com/ci".to_owned());
    })
    .await
    else {
        return;
    };
    trial.register("alice").await.message();
    let mail = trial.mail(1);
    assert!(mail.link().unwrap().starts_with("https://pages.example.com/ci/verify-email?token="), "{mail:?}");
    let unknown = trial.resend("nobody").await;
    unknown.clone().message();
    for name in ["alice", "ALICE", "", "a\r\nBcc: eve@example.com"] {
        assert_eq!(trial.resend(name).await, unknown, "{name:?}");
    }
    trial.verify(mail.token().unwrap()).await.message();
    assert_eq!(trial.resend("alice").await, unknown);
    // One that is sent after all these, so that they would be there by now.
    trial.register("bob").await.message();
    assert_eq!(trial.mail(2).envelope()["to"], json!(["bob@example.com"]));
    assert!(!trial.mails.has_more_than(2), "a moment after the first mail there is no second one");
}

async fn a_mail_that_is_put_off_is_sent_again(database: &str) {
    let refusals = MailServerSettings { refusals: 1, ..MailServerSettings::default() };
    let Some(mut trial) = Trial::with(database, &refusals, |_| {}).await else { return };
    trial.register("alice").await.message();
    let token = trial.mail(1).token().unwrap().to_owned();
    trial.verify(&token).await.message();
    trial.login("alice", PASSWORD).await.message();
}

async fn without_a_mail_server_nothing_is_asked(database: &str) {
    let settings = EngineSettings { require_email_verification: true, ..EngineSettings::default() };
    let server = Server::with_engine(database, settings).await;
    assert_eq!(server.anonymous().get("/config").await.message()["email_verification_enabled"], json!(false));
    let token = server.signed_in("alice").await;
    let changed = server.with(&token).patch("/user/settings", json!({"email": "a@example.org"})).await.message();
    assert_eq!((&changed["email"], &changed["pending_email"]), (&json!("a@example.org"), &json!(null)));
    let anonymous = server.anonymous();
    assert_eq!(anonymous.get("/auth/verify-email?token=x").await.error(), (400, "bad_request"));
    assert_eq!(anonymous.post("/auth/resend-verification", json!({"username": "alice"})).await.error(), (400, "bad_request"));
}
