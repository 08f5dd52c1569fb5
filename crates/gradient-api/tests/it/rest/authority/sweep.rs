//! Each endpoint, called as nobody, a stranger, a member and a key without the permission, keys for elsewhere, and somebody who may.

use std::cmp::Reverse;

use serde_json::json;

use super::{
    table::{Row, TABLE},
    world::World,
};
use crate::{rest::Client, server::Server};

gradient_test_support::both_databases!(whoever_may_not_cannot_and_whoever_may_can);

/// The permissions that there are.
struct Catalogue {
    organization: Vec<String>,
    cache: Vec<String>,
}

impl Catalogue {
    async fn of(client: Client<'_>) -> Self {
        let catalogue = client.get("/user/keys/permissions").await.message();
        let names = |list: &str| {
            let permissions = catalogue[list].as_array().unwrap();
            permissions.iter().map(|permission| permission["id"].as_str().unwrap().to_owned()).collect()
        };
        Self { organization: names("available_permissions"), cache: names("availableCache") }
    }

    fn all(&self) -> Vec<String> {
        [self.organization.as_slice(), &self.cache].concat()
    }

    fn is_of_cache(&self, permission: &str) -> bool {
        self.cache.iter().any(|name| name == permission)
    }
}

/// All names but this one.
fn without(names: &[String], permission: &str) -> Vec<String> {
    names.iter().filter(|name| *name != permission).cloned().collect()
}

/// What somebody who lacks a permission is told: nothing, where it is the one to see the thing.
fn refusal(permission: &str) -> u16 {
    if matches!(permission, "viewOrg" | "viewCache" | "readStore") { 404 } else { 403 }
}

async fn whoever_may_not_cannot_and_whoever_may_can(database: &str) {
    let server = Server::start(database).await;
    let (owner, stranger) = (server.signed_in("alice").await, server.signed_in("bob").await);
    // Two, since members of an organization may read the caches that it is subscribed to.
    let (member, cache_member) = (server.signed_in("carol").await, server.signed_in("dave").await);
    let alice = server.with(&owner);
    let world = World::new(&server, alice).await;
    let catalogue = Catalogue::of(alice).await;
    alice.post("/orgs/acme/users", json!({"user": "carol", "role": "View"})).await.message();
    alice.post("/caches/main/members", json!({"user": "dave", "role": "View"})).await.message();

    let all = alice.key(json!({"name": "all", "permissions": catalogue.all()})).await;
    for row in TABLE {
        let what = format!("{} {}", row.method, row.full_path());
        let expect = async |token: Option<&str>, status: u16, who: &str| {
            assert_eq!(world.call(row, token).await.as_u16(), status, "{what}, by {who}");
        };
        match row.permission {
            "none" => assert!(!is_refused(world.call(row, None).await.as_u16()), "{what}, by nobody"),
            "signedIn" => expect(None, 401, "nobody").await,
            "session" => {
                expect(None, 401, "nobody").await;
                expect(Some(&all), 403, "a key").await;
            }
            "superuser" => {
                expect(None, 401, "nobody").await;
                expect(Some(&stranger), 403, "an ordinary user").await;
            }
            _ => {
                expect(None, 401, "nobody").await;
                expect(Some(&stranger), 404, "a stranger").await;
            }
        }
    }
    keys_for_elsewhere(&world, alice, &catalogue).await;
    for permission in catalogue.all() {
        let member = if catalogue.is_of_cache(&permission) { ("dave", &cache_member) } else { ("carol", &member) };
        those_without(&world, alice, member, &catalogue, &permission).await;
    }
    those_who_may(&world, alice, &owner, &catalogue).await;
}

/// The rows that need a permission in an organization or on a cache.
fn scoped(catalogue: &Catalogue) -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(|row| catalogue.all().iter().any(|name| name == row.permission))
}

async fn keys_for_elsewhere(world: &World<'_>, alice: Client<'_>, catalogue: &Catalogue) {
    let pinned = async |name: &str, pin: &str, value: &str, permissions: &[String]| {
        alice.key(json!({"name": name, "permissions": permissions, pin: value})).await
    };
    let elsewhere = pinned("elsewhere", "organization", "elsewhere", &catalogue.all()).await;
    let other = pinned("other", "cache", "other", &catalogue.cache).await;
    let main = pinned("main", "cache", "main", &catalogue.cache).await;
    for row in scoped(catalogue) {
        // The cache's own key is for no organization. The organization's own sees the cache that it is subscribed to.
        let wrong_kind = if catalogue.is_of_cache(row.permission) { &elsewhere } else { &main };
        for (key, of) in [(&elsewhere, "another organization"), (&other, "another cache"), (wrong_kind, "another kind of thing")]
        {
            let status = world.call(row, Some(key)).await.as_u16();
            assert_eq!(status, 404, "{} {}, by a key for {of}", row.method, row.full_path());
        }
    }
}

async fn those_without(
    world: &World<'_>,
    alice: Client<'_>,
    (username, member): (&str, &String),
    catalogue: &Catalogue,
    permission: &str,
) {
    let rows: Vec<_> = scoped(catalogue).filter(|row| row.permission == permission).collect();
    if rows.is_empty() {
        return;
    }
    let rest = without(&catalogue.all(), permission);
    let key = alice.key(json!({"name": format!("without {permission}"), "permissions": rest})).await;
    let role = json!(format!("without-{}", permission.to_lowercase()));
    let (roles, members, names) = if catalogue.is_of_cache(permission) {
        ("/caches/main/roles", "/caches/main/members", &catalogue.cache)
    } else {
        ("/orgs/acme/roles", "/orgs/acme/users", &catalogue.organization)
    };
    alice.post(roles, json!({"name": role, "permissions": without(names, permission)})).await.message();
    alice.patch(members, json!({"user": username, "role": role})).await.message();
    for row in rows {
        for (token, who) in [(&key, "a key"), (member, "a member")] {
            let status = world.call(row, Some(token)).await.as_u16();
            assert_eq!(status, refusal(permission), "{} {}, by {who} without {permission}", row.method, row.full_path());
        }
    }
}

/// What deletes comes last, and what is inside before what it is in.
async fn those_who_may(world: &World<'_>, alice: Client<'_>, session: &str, catalogue: &Catalogue) {
    let mut rows: Vec<&Row> = TABLE.iter().filter(|row| row.permission != "none").collect();
    rows.sort_by_key(|row| (row.method == "DELETE", Reverse(row.full_path().split('/').count())));
    for (number, row) in rows.into_iter().enumerate() {
        let is_scoped = catalogue.all().iter().any(|name| name == row.permission);
        let name = format!("just enough {number}");
        let token = if is_scoped {
            let permissions = [&[row.permission], row.also].concat();
            alice.key(json!({"name": name, "permissions": permissions})).await
        } else {
            session.to_owned()
        };
        let status = world.call(row, Some(&token)).await.as_u16();
        if is_scoped {
            // There cannot be as many keys as there are rows.
            alice.delete_with("/user/keys", json!({"name": name})).await.message();
        }
        assert!(
            !is_refused(status) || (status == 404 && !row.is_there),
            "{} {}, by somebody who may: {status}",
            row.method,
            row.full_path()
        );
    }
}

fn is_refused(status: u16) -> bool {
    matches!(status, 401 | 403 | 404)
}
