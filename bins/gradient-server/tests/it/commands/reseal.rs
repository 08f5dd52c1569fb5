//! `reseal`.

use std::fs;

use serde_json::json;

use super::{LIMIT, PASSWORD, Place, login};
use crate::trial::Database;

const NEW_SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn the_crypt_secret_can_be_replaced_on_sqlite() {
    the_crypt_secret_can_be_replaced(Database::Sqlite);
}

#[test]
fn the_crypt_secret_can_be_replaced_on_postgres() {
    the_crypt_secret_can_be_replaced(Database::Postgres);
}

fn the_crypt_secret_can_be_replaced(database: Database) {
    let Some(place) = Place::on(database) else { return };
    let mut server = place.serve();
    let alice = json!({"username": "alice", "name": "Alice", "email": "alice@example.com", "password": PASSWORD});
    server.api().post("/auth/basic/register", &alice).unwrap();
    let api = login(&server, "alice", PASSWORD).unwrap();
    for name in ["one", "two", "three"] {
        api.put("/orgs", &json!({"name": name, "display_name": name})).unwrap();
        api.put("/caches", &json!({"name": name, "display_name": name, "public": true})).unwrap();
    }
    let file = place.path().join("state/crypt-secret");
    let old = fs::read_to_string(&file).unwrap();
    assert_eq!(place.run(&["reseal"]).said(), said(0, 0, 6));

    // Only with the old secret behind the new one.
    fs::write(&file, format!("{NEW_SECRET}\n")).unwrap();
    assert!(place.run(&["reseal"]).failed(2).contains("GRADIENT_CRYPT_SECRET_FILE"));
    fs::write(&file, format!("{NEW_SECRET}\n{old}")).unwrap();
    assert!(server.process().stop(LIMIT).unwrap().success());
    server.start_again().unwrap();
    let api = login(&server, "alice", PASSWORD).unwrap();
    // What the server seals from now on needs nothing.
    api.post("/orgs/one/ssh", &json!({})).unwrap();
    assert_eq!(place.run(&["reseal"]).said(), said(2, 3, 1));
    assert_eq!(place.run(&["reseal"]).said(), said(0, 0, 6));
    assert!(server.process().stop(LIMIT).unwrap().success());

    // And then without the old one: caches sign, which opens their keys, and the old secret alone opens nothing any more.
    fs::write(&file, &old).unwrap();
    assert!(place.run(&["reseal"]).failed(2).contains("GRADIENT_CRYPT_SECRET_FILE"));
    fs::write(&file, format!("{NEW_SECRET}\n")).unwrap();
    server.start_again().unwrap();
    for name in ["one", "two", "three"] {
        let (status, _) = server.api().get_raw(&format!("/cache/{name}/nix-cache-info"), None).unwrap();
        assert_eq!(status, 200, "{name}");
    }
    assert!(server.process().stop(LIMIT).unwrap().success());
}

#[test]
fn a_secret_that_is_not_there_is_not_made() {
    let place = Place::sqlite();
    let mut server = place.serve();
    assert!(server.process().stop(LIMIT).unwrap().success());
    let file = place.path().join("state/crypt-secret");
    fs::remove_file(&file).unwrap();
    assert!(place.run(&["reseal"]).failed(2).contains("GRADIENT_CRYPT_SECRET_FILE"));
    assert!(!file.exists());
}

fn said(ssh_keys: usize, signing_keys: usize, current: usize) -> String {
    format!(
        "sealed again: SSH keys of organizations: {ssh_keys}, signing keys of caches: {signing_keys}; \
         already sealed with the newest secret: {current}\n"
    )
}
