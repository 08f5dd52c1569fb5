//! Mail and sign-in at an OpenID provider, set as the server's users set them.

use std::{fs, path::PathBuf};

use gradient_test_support::deployment::{
    Api, DeploymentError, MailServer, MailServerSettings, MailServerTls, OidcProvider, OidcProviderSettings, Process, Server,
    ServerSettings,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::trial::{LIMIT, programs, refusal};

const PASSWORD: &str = "Correct-Horse-7";
const MAIL_PASSWORD: &str = "of the mail server";

/// A folder with the files of a server and of what it talks to.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn settings(&self, environment: &[(&'static str, String)]) -> ServerSettings {
        ServerSettings {
            program: programs().server,
            folder: self.0.path().join("server"),
            database_url: None,
            hosted_worker: None,
            rate_limits: false,
            environment: environment.to_vec(),
        }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A certificate for `localhost` and its key.
    fn certificate(&self) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = self.file("certificate.pem", &made.cert.pem());
        (certificate.into(), self.file("key.pem", &made.signing_key.serialize_pem()).into())
    }
}

fn register(api: &Api, username: &str) -> Value {
    let email = format!("{username}@example.com");
    let body = json!({"username": username, "name": "Somebody", "email": email, "password": PASSWORD});
    api.post("/auth/basic/register", &body).unwrap()
}

fn login(api: &Api, username: &str) -> Result<Value, DeploymentError> {
    api.post("/auth/basic/login", &json!({"loginname": username, "password": PASSWORD}))
}

#[test]
fn mail_goes_out_by_starttls() {
    let place = Place::new();
    let (certificate, key) = place.certificate();
    mail_goes_out(&place, "starttls", MailServerTls::Starttls(certificate, key));
}

#[test]
fn mail_goes_out_by_tls() {
    let place = Place::new();
    let (certificate, key) = place.certificate();
    mail_goes_out(&place, "tls", MailServerTls::Implicit(certificate, key));
}

fn mail_goes_out(place: &Place, word: &str, tls: MailServerTls) {
    let login_there = Some(("gradient".to_owned(), MAIL_PASSWORD.to_owned()));
    let wanted = MailServerSettings { tls, login: login_there, refusals: 0 };
    let Some(mut mails) = MailServer::start(place.0.path(), &wanted).unwrap() else { return };
    let settings = place.settings(&[
        ("GRADIENT_SMTP_HOST", "localhost".to_owned()),
        ("GRADIENT_SMTP_PORT", mails.port().to_string()),
        ("GRADIENT_SMTP_TLS", word.to_owned()),
        ("GRADIENT_SMTP_USERNAME", "gradient".to_owned()),
        ("GRADIENT_SMTP_PASSWORD_FILE", place.file("mail-password", &format!("{MAIL_PASSWORD}\n"))),
        ("GRADIENT_SMTP_FROM", "ci@example.com".to_owned()),
        ("GRADIENT_REQUIRE_EMAIL_VERIFICATION", "true".to_owned()),
        // The certificates that this system trusts.
        ("SSL_CERT_FILE", place.0.path().join("certificate.pem").to_str().unwrap().to_owned()),
    ]);
    let mut server = Server::start(&settings).unwrap();
    let api = server.api();
    register(&api, "alice");
    login(&api, "alice").unwrap();
    for name in ["bob", "carol"] {
        register(&api, name);
        refusal(login(&api, name), (400, "email_unverified"));
    }
    let taken = mails.wait_for(2).unwrap();
    let bobs = taken.iter().find(|mail| mail.envelope()["to"] == json!(["bob@example.com"])).unwrap();
    assert_eq!((&bobs.envelope()["tls"], &bobs.envelope()["authenticated"]), (&json!(true), &json!(true)));
    api.get(&format!("/auth/verify-email?token={}", bobs.token().unwrap())).unwrap();
    login(&api, "bob").unwrap();

    // Whoever runs the server can vouch for an address, too.
    let mut command = Server::command(&settings).unwrap();
    let log = place.0.path().join("command.log");
    let mut process = Process::spawn("a subcommand", command.args(["user", "verify-email", "carol"]), &log).unwrap();
    assert!(process.wait(LIMIT).unwrap().success(), "{}", process.log_tail());
    login(&api, "carol").unwrap();
    let log = fs::read_to_string(server.process().log()).unwrap();
    let secrets = [MAIL_PASSWORD, bobs.token().unwrap(), PASSWORD];
    assert!(secrets.iter().all(|secret| !log.contains(secret)), "{log}");
}

#[test]
fn a_mail_server_that_is_not_trusted_gets_nothing() {
    let place = Place::new();
    let (certificate, key) = place.certificate();
    let wanted = MailServerSettings { tls: MailServerTls::Starttls(certificate, key), login: None, refusals: 0 };
    let Some(mails) = MailServer::start(place.0.path(), &wanted).unwrap() else { return };
    let mut server = Server::start(&place.settings(&[
        ("GRADIENT_SMTP_HOST", "localhost".to_owned()),
        ("GRADIENT_SMTP_PORT", mails.port().to_string()),
        ("GRADIENT_SMTP_FROM", "ci@example.com".to_owned()),
        ("GRADIENT_REQUIRE_EMAIL_VERIFICATION", "true".to_owned()),
    ]))
    .unwrap();
    register(&server.api(), "alice");
    register(&server.api(), "bob");
    server.process().wait_for_log("a mail could not be sent", LIMIT).unwrap();
    assert!(!mails.has_more_than(0));
}

#[test]
fn people_sign_in_at_the_provider() {
    let place = Place::new();
    let accounts = json!({"1": {"email": "alice@example.com"}});
    let wanted = OidcProviderSettings { folder: place.0.path().to_owned(), accounts, foreign_keys: false };
    let Some(provider) = OidcProvider::start(&wanted).unwrap() else { return };
    let server = Server::start(&place.settings(&[
        ("GRADIENT_OIDC_DISCOVERY_URL", format!("{}/.well-known/openid-configuration", provider.issuer())),
        ("GRADIENT_OIDC_CLIENT_ID", OidcProvider::CLIENT_ID.to_owned()),
        ("GRADIENT_OIDC_CLIENT_SECRET_FILE", place.file("client-secret", OidcProvider::CLIENT_SECRET)),
        ("GRADIENT_OIDC_REQUIRED", "true".to_owned()),
    ]))
    .unwrap();
    let config = server.api().get("/config").unwrap();
    let flags = ["oidc_enabled", "oidc_required", "registration_enabled"].map(|flag| config[flag].clone());
    assert_eq!(flags, [json!(true), json!(true), json!(false)]);
    let url = server.api().post("/auth/oauth/authorize", &json!({})).unwrap();
    let url = url.as_str().unwrap();
    assert!(url.starts_with(&format!("{}/auth?", provider.issuer())), "{url}");
    for part in ["response_type=code", "client_id=gradient", "code_challenge_method=S256", "scope=openid+profile+email"] {
        assert!(url.contains(part), "{part} is missing in {url}");
    }
}
