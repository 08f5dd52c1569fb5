//! Who manages members or roles without being Admin cannot become one, nor make one.

use serde_json::{Value, json};

use super::{Answer, Client};
use crate::server::Server;

gradient_test_support::both_databases!(
    who_manages_roles_gains_nothing_by_it,
    who_manages_members_gains_nothing_by_it,
    a_key_gives_no_more_than_it_has,
    a_superuser_who_is_a_member_gives_everything,
);

/// An organization or a cache, and what its permissions are called.
struct Place {
    /// Where it is created and found.
    path: &'static str,
    members: &'static str,
    view: &'static str,
    manage_members: &'static str,
    manage_roles: &'static str,
    other: &'static str,
    delete: &'static str,
}

const PLACES: [Place; 2] = [
    Place {
        path: "/orgs/acme",
        members: "/orgs/acme/users",
        view: "viewOrg",
        manage_members: "manageMembers",
        manage_roles: "manageRoles",
        other: "createProject",
        delete: "deleteOrg",
    },
    Place {
        path: "/caches/acme",
        members: "/caches/acme/members",
        view: "viewCache",
        manage_members: "manageCacheMembers",
        manage_roles: "manageCacheRoles",
        other: "writeStore",
        delete: "deleteCache",
    },
];

impl Place {
    async fn create(&self, owner: Client<'_>) {
        if self.path.starts_with("/orgs") {
            owner.organization("acme", false).await
        } else {
            owner.cache("acme", false).await
        };
    }

    /// Makes a role; its path.
    async fn role(&self, by: Client<'_>, name: &str, permissions: &[&str]) -> String {
        let roles = format!("{}/roles", self.path);
        let id = by.post(&roles, json!({"name": name, "permissions": permissions})).await.message();
        format!("{roles}/{}", id.as_str().unwrap())
    }

    async fn add(&self, by: Client<'_>, user: &str, role: &str) -> Answer {
        by.post(self.members, json!({"user": user, "role": role})).await
    }

    async fn change(&self, by: Client<'_>, user: &str, role: &str) -> Answer {
        by.patch(self.members, json!({"user": user, "role": role})).await
    }

    async fn remove(&self, by: Client<'_>, user: &str) -> Answer {
        by.delete_with(self.members, json!({"user": user})).await
    }

    async fn all(&self, by: Client<'_>) -> Value {
        by.get(self.members).await.message()
    }
}

#[track_caller]
fn refused(answer: &Answer, permission: &str) {
    assert_eq!(answer.error(), (403, "forbidden"));
    assert!(answer.sentence().contains(&format!("`{permission}`")), "{}", answer.sentence());
}

async fn who_manages_roles_gains_nothing_by_it(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("mallory").await);
    let (alice, mallory) = (server.with(&token), server.with(&other));
    for place in PLACES {
        place.create(alice).await;
        let own = place.role(alice, "roles", &[place.view, place.manage_roles]).await;
        let release = place.role(alice, "release", &[place.view, place.other]).await;
        place.add(alice, "mallory", "roles").await.message();

        let wider = json!({"permissions": [place.view, place.manage_roles, place.delete]});
        refused(&mallory.patch(&own, wider).await, place.delete);
        let roles = format!("{}/roles", place.path);
        let members = json!({"name": "people", "permissions": [place.manage_members]});
        refused(&mallory.post(&roles, members).await, place.manage_members);
        for body in [json!({"permissions": [place.view]}), json!({"permissions": []}), json!({"name": "mine"})] {
            refused(&mallory.patch(&release, body).await, place.other);
        }
        refused(&mallory.delete(&release).await, place.other);

        let small = place.role(mallory, "small", &[place.view]).await;
        mallory.patch(&small, json!({"permissions": [place.view, place.manage_roles], "name": "smaller"})).await.message();
        mallory.delete(&small).await.message();
        mallory.patch(&own, json!({"permissions": [place.view]})).await.message();
        assert_eq!(mallory.patch(&own, json!({"permissions": [place.view]})).await.error(), (403, "forbidden"));
    }
}

async fn who_manages_members_gains_nothing_by_it(database: &str) {
    let server = Server::start(database).await;
    let (token, other) = (server.signed_in("alice").await, server.signed_in("mallory").await);
    server.signed_in("bob").await;
    let (alice, mallory) = (server.with(&token), server.with(&other));
    for place in PLACES {
        place.create(alice).await;
        place.role(alice, "people", &[place.view, place.manage_members]).await;
        place.role(alice, "release", &[place.view, place.other]).await;
        place.add(alice, "mallory", "people").await.message();
        let before = place.all(alice).await;

        assert_eq!(place.change(mallory, "mallory", "Admin").await.error(), (403, "forbidden"));
        refused(&place.change(mallory, "mallory", "release").await, place.other);
        refused(&place.add(mallory, "bob", "release").await, place.other);
        assert_eq!(place.add(mallory, "bob", "Admin").await.error(), (403, "forbidden"));
        assert_eq!(place.change(mallory, "alice", "people").await.error(), (403, "forbidden"));
        assert_eq!(place.remove(mallory, "alice").await.error(), (403, "forbidden"));
        assert_eq!(place.all(alice).await, before);

        place.add(mallory, "bob", "people").await.message();
        place.change(mallory, "bob", "people").await.message();
        place.remove(mallory, "bob").await.message();
        place.add(alice, "bob", "release").await.message();
        refused(&place.remove(mallory, "bob").await, place.other);
        place.remove(mallory, "mallory").await.message();
        assert_eq!(mallory.get(place.path).await.error(), (404, "not_found"));
    }
}

async fn a_key_gives_no_more_than_it_has(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    server.signed_in("mallory").await;
    server.signed_in("bob").await;
    let alice = server.with(&token);
    for place in PLACES {
        place.create(alice).await;
        let allowed = [place.view, place.manage_members, place.manage_roles];
        let key = alice.key(json!({"name": format!("invites-{}", place.view), "permissions": allowed})).await;
        let key = server.with(&key);
        assert_eq!(place.add(key, "mallory", "Admin").await.error(), (403, "forbidden"));
        let roles = format!("{}/roles", place.path);
        refused(&key.post(&roles, json!({"name": "all", "permissions": [place.delete]})).await, place.delete);
        place.role(key, "guest", &[place.view]).await;
        place.add(key, "mallory", "guest").await.message();
        assert_eq!(place.change(key, "mallory", "Admin").await.error(), (403, "forbidden"));
        place.add(alice, "bob", "Admin").await.message();
        assert_eq!(place.change(key, "bob", "guest").await.error(), (403, "forbidden"));
        assert_eq!(place.remove(key, "bob").await.error(), (403, "forbidden"));
        place.remove(key, "mallory").await.message();
        // Whose key it is may leave.
        place.remove(key, "alice").await.message();
    }
}

async fn a_superuser_who_is_a_member_gives_everything(database: &str) {
    let server = Server::start(database).await;
    // The first user is superuser.
    let (token, other) = (server.signed_in("root-1").await, server.signed_in("alice").await);
    server.signed_in("bob").await;
    let (root, alice) = (server.with(&token), server.with(&other));
    for place in PLACES {
        place.create(alice).await;
        place.role(alice, "people", &[place.view, place.manage_members]).await;
        assert_eq!(place.add(root, "bob", "Admin").await.error(), (404, "not_found"), "it opens nothing");
        place.add(alice, "root-1", "people").await.message();
        let every = json!([place.view, place.manage_members, place.delete]);
        let key = root.key(json!({"name": format!("with-{}", place.view), "permissions": every})).await;
        refused(
            &place.add(server.with(&key), "bob", "Admin").await,
            if place.view == "viewOrg" { "manageOrgSettings" } else { "readStore" },
        );
        place.add(root, "bob", "Admin").await.message();
        place.remove(root, "alice").await.message();
    }
}
