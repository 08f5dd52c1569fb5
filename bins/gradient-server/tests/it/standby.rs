//! Two servers on one database: one leads, the other waits until it is gone.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use gradient_test_support::deployment::{DeploymentError, Process, Server, ServerSettings, wait};
use serde_json::json;

use crate::{
    commands::{LIMIT, PASSWORD, Place, login},
    trial::{Database, refusal},
};

/// How long nobody may lead.
const TAKEOVER: Duration = Duration::from_secs(5);

/// A second server like that of a place, with a folder of its own.
fn beside(place: &Place, name: &str) -> ServerSettings {
    let secret = |file: &str| place.path().join("state").join(file).to_str().unwrap().to_owned();
    let mut settings = place.settings().clone();
    settings.folder = place.path().join(name);
    settings
        .environment
        .extend([("GRADIENT_JWT_SECRET_FILE", secret("jwt-secret")), ("GRADIENT_CRYPT_SECRET_FILE", secret("crypt-secret"))]);
    settings
}

/// The whole answer in lower case.
fn answer(server: &Server, path: &str) -> String {
    let address = server.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.to_lowercase()
}

#[test]
fn a_standby_takes_over_when_the_leader_is_killed() {
    let Some(place) = Place::on(Database::Postgres) else { return };
    let mut first = place.serve();
    let mut second = Server::start(&beside(&place, "second")).unwrap();
    assert_eq!(first.api().get("/health").unwrap(), "200 ALIVE");
    assert_eq!(second.api().get("/health").unwrap(), "200 STANDBY");
    second.process().wait_for_log("waiting as a standby", LIMIT).unwrap();
    let file = place.password_file(PASSWORD);
    let alice = ["user", "create", "--username", "alice", "--name", "Alice", "--email", "alice@example.com"];
    place.run(&[&alice[..], &["--password-file", &file]].concat()).said();
    let session = login(&first, "alice", PASSWORD).unwrap();
    let said = refusal(login(&second, "alice", PASSWORD), (503, "unavailable"));
    assert!(said.contains("standby"), "{said}");
    for path in ["/proto", "/cache/acme/nix-cache-info"] {
        let answer = answer(&second, path);
        assert!(answer.starts_with("http/1.1 503"), "{answer}");
        assert!(answer.contains("\r\nretry-after: 2\r\n"), "{answer}");
    }

    let killed = Instant::now();
    first.process().kill();
    let organization = json!({"name": "acme", "display_name": "Acme"});
    let session = second.api().with_token(session.token().unwrap());
    wait::until("the standby to take over", TAKEOVER, || match session.put("/orgs", &organization) {
        Ok(_) => Ok(Some(())),
        Err(DeploymentError::Refused { status: 503, .. } | DeploymentError::Unreachable { .. }) => Ok(None),
        Err(error) => Err(error),
    })
    .unwrap();
    assert!(killed.elapsed() < TAKEOVER, "{:?}", killed.elapsed());
    assert_eq!(second.api().get("/health").unwrap(), "200 ALIVE");

    // Whoever comes back waits in turn, and takes over from one that ends by itself.
    first.start_again().unwrap();
    refusal(login(&first, "alice", PASSWORD), (503, "unavailable"));
    assert!(second.process().stop(LIMIT).unwrap().success());
    wait::until("the first to take over again", TAKEOVER, || Ok::<_, DeploymentError>(login(&first, "alice", PASSWORD).ok()))
        .unwrap();
    assert!(first.process().stop(LIMIT).unwrap().success());
}

#[test]
fn a_leader_that_stands_still_ends_when_it_goes_on() {
    let Some(place) = Place::on(Database::Postgres) else { return };
    let mut first = place.serve();
    let mut second = Server::start(&beside(&place, "second")).unwrap();
    second.process().wait_for_log("waiting as a standby", LIMIT).unwrap();
    first.process().pause();
    second.process().wait_for_log("this server leads on the database", LIMIT).unwrap();
    first.process().resume();
    assert_eq!(first.process().wait(LIMIT).unwrap().code(), Some(1), "{}", first.process().log_tail());
    let said = first.process().log_tail();
    assert!(said.contains("this server does not lead any more"), "{said}");
    assert!(said.contains("another server leads on the database by now"), "{said}");
    wait::until("the second to answer", LIMIT, || Ok::<_, DeploymentError>(second.api().get("/config").ok())).unwrap();
    assert!(second.process().stop(LIMIT).unwrap().success());
}

#[test]
fn a_standby_ends_when_it_is_told() {
    let Some(place) = Place::on(Database::Postgres) else { return };
    let mut first = place.serve();
    let mut second = Server::start(&beside(&place, "second")).unwrap();
    second.process().wait_for_log("waiting as a standby", LIMIT).unwrap();
    assert!(second.process().stop(LIMIT).unwrap().success(), "{}", second.process().log_tail());
    assert!(first.process().stop(LIMIT).unwrap().success());
}

#[test]
fn an_sqlite_database_has_one_server() {
    let place = Place::sqlite();
    let mut server = place.serve();
    let mut command = Server::command(place.settings()).unwrap();
    command.env("GRADIENT_PORT", "0");
    let mut another = Process::spawn("a second server", &mut command, &place.path().join("second.log")).unwrap();
    assert_eq!(another.wait(LIMIT).unwrap().code(), Some(1));
    let said = another.log_tail();
    assert!(said.contains("another server uses this database and holds"), "{said}");
    assert!(said.contains("gradient.db.lock"), "{said}");
    // It did not disturb the first one.
    server.api().get("/config").unwrap();
    assert!(server.process().stop(LIMIT).unwrap().success());
}
