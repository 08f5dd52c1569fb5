//! `backup`.

use std::{fs, os::unix::fs::PermissionsExt};

use gradient_test_support::deployment::ServerSettings;
use serde_json::json;

use super::{LIMIT, PASSWORD, Place, login};
use crate::trial::Database;

#[test]
fn a_copy_made_while_the_server_runs_is_a_whole_database() {
    let place = Place::sqlite();
    let mut server = place.serve();
    let register = |name: &str| {
        let body = json!({"username": name, "name": name, "email": format!("{name}@example.com"), "password": PASSWORD});
        server.api().post("/auth/basic/register", &body).unwrap();
    };
    register("alice");
    let api = login(&server, "alice", PASSWORD).unwrap();
    api.put("/orgs", &json!({"name": "acme", "display_name": "Acme"})).unwrap();
    let file = place.path().join("copy.db");
    let name = file.to_str().unwrap();
    assert_eq!(place.run(&["backup", name]).said(), format!("copied the database to {name}\n"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    register("later");

    // What is there stays as it is, whatever it is.
    let copy = fs::read(&file).unwrap();
    assert!(place.run(&["backup", name]).failed(1).contains("overwrites nothing"));
    assert_eq!(fs::read(&file).unwrap(), copy);
    assert!(server.process().stop(LIMIT).unwrap().success());

    // A server on the copy, with the same secrets, knows what was there then.
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("state")).unwrap();
    for secret in ["jwt-secret", "crypt-secret"] {
        fs::copy(place.path().join("state").join(secret), other.path().join("state").join(secret)).unwrap();
    }
    fs::rename(&file, other.path().join("state/gradient.db")).unwrap();
    let settings = ServerSettings { folder: other.path().to_path_buf(), ..place.settings.clone() };
    let mut restored = gradient_test_support::deployment::Server::start(&settings).unwrap();
    let api = login(&restored, "alice", PASSWORD).unwrap();
    assert_eq!(api.get("/orgs/acme").unwrap()["name"], json!("acme"));
    assert!(login(&restored, "later", PASSWORD).is_err());
    assert!(restored.process().stop(LIMIT).unwrap().success());
}

#[test]
fn where_there_is_nothing_to_copy_there_is_no_copy() {
    let place = Place::sqlite();
    assert!(place.run(&["backup", "copy.db"]).failed(2).contains("GRADIENT_DATABASE_URL"));
    fs::write(place.path().join("state/gradient.db"), "no database at all, but a text").unwrap();
    place.run(&["backup", "copy.db"]).failed(1);
    place.run(&["backup", "nowhere/copy.db"]).failed(1);
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("copy")), "{left:?}");
}

#[test]
fn postgres_is_for_pg_dump() {
    let Some(place) = Place::on(Database::Postgres) else { return };
    assert!(place.run(&["backup", "copy.db"]).failed(2).contains("pg_dump"));
    assert!(!place.path().join("copy.db").exists());
}
