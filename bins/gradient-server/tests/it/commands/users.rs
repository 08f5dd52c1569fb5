//! `user create`, `user promote`, `user reset-password`.

use serde_json::json;

use super::{PASSWORD, Place, login, user};
use crate::trial::{Database, refusal};

const NEW_PASSWORD: &str = "Battery-Staple-9";

#[test]
fn users_are_made_promoted_and_given_passwords_on_sqlite() {
    users_are_made_promoted_and_given_passwords(Database::Sqlite);
}

#[test]
fn users_are_made_promoted_and_given_passwords_on_postgres() {
    users_are_made_promoted_and_given_passwords(Database::Postgres);
}

fn users_are_made_promoted_and_given_passwords(database: Database) {
    let Some(place) = Place::on(database) else { return };
    // The first one before there ever was a server.
    let file = place.password_file(PASSWORD);
    let alice = ["user", "create", "--username", "alice", "--name", "Alice", "--email", "alice@example.com", "--superuser"];
    let said = place.run(&[&alice[..], &["--password-file", &file]].concat()).said();
    assert_eq!(said.lines().last(), Some("made the superuser alice"), "{said}");
    let mut server = place.serve();
    assert_eq!(user(&login(&server, "alice", PASSWORD).unwrap())["superuser"], json!(true));

    // And the others while it runs.
    let bob = ["user", "create", "--username", "bob", "--name", "Bob", "--email", "bob@example.com"];
    assert_eq!(place.run_with_input(&bob, &format!("{PASSWORD}\nnot this\n")).said(), "made the user bob\n");
    let session = login(&server, "bob", PASSWORD).unwrap();
    assert_eq!(user(&session)["superuser"], json!(false));
    assert_eq!(place.run(&["user", "promote", "bob"]).said(), "bob is a superuser\n");
    assert_eq!(user(&session)["superuser"], json!(true));
    assert_eq!(place.run(&["user", "promote", "bob"]).said(), "bob is a superuser\n");

    let second = login(&server, "bob@example.com", PASSWORD).unwrap();
    let said = place.run_with_input(&["user", "reset-password", "bob"], NEW_PASSWORD).said();
    assert_eq!(said, "bob has the new password; sessions ended: 2\n");
    for ended in [session, second] {
        refusal(ended.get("/user"), (401, "unauthorized"));
    }
    refusal(login(&server, "bob", PASSWORD), (401, "invalid_credentials"));
    login(&server, "bob", NEW_PASSWORD).unwrap();
    login(&server, "alice", PASSWORD).unwrap();

    // What is taken or not there is told, and nothing changes.
    assert!(place.run_with_input(&bob, PASSWORD).failed(1).contains("this user exists already"));
    for (words, input) in [
        (&["user", "promote", "carol"][..], ""),
        (&["user", "verify-email", "carol"], ""),
        (&["user", "reset-password", "carol"], PASSWORD),
    ] {
        assert!(place.run_with_input(words, input).failed(1).contains("there is no user `carol`"), "{words:?}");
    }
    assert!(server.process().stop(super::LIMIT).unwrap().success());
}

#[test]
fn what_cannot_be_a_user_is_refused() {
    let place = Place::sqlite();
    let create = |username: &str, email: &str, input: &str| {
        let words = ["user", "create", "--username", username, "--name", "X", "--email", email];
        place.run_with_input(&words, input)
    };
    assert!(create("a b", "x@example.com", PASSWORD).failed(2).contains("--username"));
    assert!(create("alice", "nowhere", PASSWORD).failed(2).contains("--email"));
    for weak in ["", "\n", "short", "password-Is-1-Long", "no-upper-case-7"] {
        let sentence = create("alice", "alice@example.com", weak).failed(2);
        assert!(sentence.contains("the password must"), "{sentence}");
        assert!(weak.trim().is_empty() || !sentence.contains(weak), "{sentence}");
    }
    let missing = ["user", "reset-password", "alice", "--password-file", "/nonexistent/password"];
    assert!(place.run(&missing).failed(2).contains("--password-file"));
    assert!(place.run(&["user", "create", "--username", "alice"]).failed(2).contains("--email"));
    assert!(place.run(&["user"]).failed(2).contains("subcommand"));
    // A password is no argument.
    place.run(&["user", "reset-password", "alice", PASSWORD]).failed(2);
    // None of it made a database.
    assert!(!place.path().join("state/gradient.db").exists());
    assert!(place.run(&["user", "promote", "alice"]).failed(2).contains("GRADIENT_DATABASE_URL"));
    assert!(!place.path().join("state/gradient.db").exists());
}
