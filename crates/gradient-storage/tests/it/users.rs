use gradient_domain::{BuiltInRole, RoleScope};
use gradient_storage::{Conn, caches, organizations, roles, users, users::UserChanges};

use crate::fixtures::*;

gradient_test_support::both_databases!(keeps_users, finds_by_login, changes_users, names_where_it_is_the_last_admin);

async fn keeps_users(url: &str) {
    with(url, async |conn: &mut Conn| {
        let ada = user("Ada");
        assert_eq!(users::count(conn).await?, 0);
        users::insert(conn, &ada).await?;
        assert_eq!(users::find(conn, ada.id).await?, ada);
        assert_eq!(users::count(conn).await?, 1);
        let again = user("ADA");
        exists(conn, "user", async move |conn: &mut Conn| users::insert(conn, &again).await).await;
        assert_eq!(users::usernames(conn, &[ada.id]).await?, [(ada.id, ada.username.clone())]);
        users::delete(conn, ada.id).await?;
        assert_eq!(users::lookup(conn, ada.id).await?, None);
        assert_missing(users::delete(conn, ada.id).await, "user");
        Ok(())
    })
    .await;
}

async fn finds_by_login(url: &str) {
    with(url, async |conn: &mut Conn| {
        let ada = user("Ada");
        users::insert(conn, &ada).await?;
        for login in ["ada", "ADA", "ada@EXAMPLE.com"] {
            assert_eq!(users::lookup_by_login(conn, login).await?.as_ref(), Some(&ada), "{login}");
        }
        for login in ["", "ad", "ada@", "%", "ada'--"] {
            assert_eq!(users::lookup_by_login(conn, login).await?, None, "{login}");
        }
        assert_eq!(users::lookup_by_username(conn, "ada@example.com").await?, None);
        Ok(())
    })
    .await;
}

async fn changes_users(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (ada, eve) = (insert_user(conn, "ada").await?, insert_user(conn, "eve").await?);
        users::set_password(conn, ada, "$argon2id$").await?;
        users::set(conn, ada, &UserChanges { name: Some("Ada L.".parse().unwrap()), ..UserChanges::default() }).await?;
        users::set(conn, ada, &UserChanges::default()).await?;
        let changed = users::find(conn, ada).await?;
        assert_eq!((changed.name.as_str(), changed.password_hash.as_deref()), ("Ada L.", Some("$argon2id$")));
        assert_eq!(changed.username.as_str(), "ada");
        let taken = UserChanges { username: Some("Ada".parse().unwrap()), ..UserChanges::default() };
        exists(conn, "user", async move |conn: &mut Conn| users::set(conn, eve, &taken).await).await;
        Ok(())
    })
    .await;
}

async fn names_where_it_is_the_last_admin(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (ada, eve) = (insert_user(conn, "ada").await?, insert_user(conn, "eve").await?);
        let (shared, own) = (insert_organization(conn, "shared").await?, insert_organization(conn, "own").await?);
        let cache = insert_cache(conn, "store").await?;
        let admin = roles::built_in(RoleScope::Organization, BuiltInRole::Admin);
        let view = roles::built_in(RoleScope::Organization, BuiltInRole::View);
        organizations::insert_member(conn, shared, ada, admin, NOW).await?;
        organizations::insert_member(conn, shared, eve, admin, NOW).await?;
        organizations::insert_member(conn, own, ada, admin, NOW).await?;
        organizations::insert_member(conn, own, eve, view, NOW).await?;
        caches::insert_member(conn, cache, ada, roles::built_in(RoleScope::Cache, BuiltInRole::Admin), NOW).await?;
        assert_eq!(users::last_admin_of(conn, ada).await?, ["the organization own", "the cache store"]);
        assert!(users::last_admin_of(conn, eve).await?.is_empty());
        organizations::set_deleted(conn, own, NOW).await?;
        assert_eq!(users::last_admin_of(conn, ada).await?, ["the cache store"]);
        Ok(())
    })
    .await;
}
