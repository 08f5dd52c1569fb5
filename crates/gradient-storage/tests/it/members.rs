use gradient_domain::{BuiltInRole, RoleScope};
use gradient_storage::{Conn, StorageError, caches, organizations, roles};

use crate::fixtures::*;

gradient_test_support::both_databases!(of_an_organization, of_a_cache);

async fn of_an_organization(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (ada, eve) = (insert_user(conn, "ada").await?, insert_user(conn, "eve").await?);
        let acme = insert_organization(conn, "acme").await?;
        let admin = roles::built_in(RoleScope::Organization, BuiltInRole::Admin);
        let view = roles::built_in(RoleScope::Organization, BuiltInRole::View);
        organizations::insert_member(conn, acme, eve, view, NOW).await?;
        organizations::insert_member(conn, acme, ada, admin, NOW).await?;
        exists(conn, "member", async move |conn: &mut Conn| organizations::insert_member(conn, acme, ada, view, NOW).await).await;
        let nobody = gradient_domain::RoleId::new();
        let unknown_role: Result<(), StorageError> =
            conn.transaction(async move |conn: &mut Conn| organizations::set_member_role(conn, acme, ada, nobody).await).await;
        assert!(matches!(unknown_role, Err(StorageError::BrokenReference(_))), "{unknown_role:?}");

        let members = organizations::members(conn, acme).await?;
        let names: Vec<_> = members.iter().map(|member| (member.username.as_str(), member.role_name.as_str())).collect();
        assert_eq!(names, [("ada", "Admin"), ("eve", "View")]);
        let (role, name, permissions) = organizations::role_of(conn, eve, acme).await?.unwrap();
        assert_eq!((role, name.as_str(), permissions), (view, "View", BuiltInRole::View.permissions()));
        assert_eq!(organizations::roles_of(conn, eve).await?[&acme].0, view);
        assert_eq!(organizations::count_admins(conn, acme).await?, 1);
        organizations::set_member_role(conn, acme, eve, admin).await?;
        assert_eq!(organizations::count_admins(conn, acme).await?, 2);
        organizations::delete_member(conn, acme, ada).await?;
        assert_eq!(organizations::role_of(conn, ada, acme).await?, None);
        assert_missing(organizations::delete_member(conn, acme, ada).await, "member");
        assert_missing(organizations::set_member_role(conn, acme, ada, view).await, "member");
        Ok(())
    })
    .await;
}

async fn of_a_cache(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (ada, eve) = (insert_user(conn, "ada").await?, insert_user(conn, "eve").await?);
        let store = insert_cache(conn, "store").await?;
        let admin = roles::built_in(RoleScope::Cache, BuiltInRole::Admin);
        let write = roles::built_in(RoleScope::Cache, BuiltInRole::Write);
        caches::insert_member(conn, store, ada, admin, NOW).await?;
        caches::insert_member(conn, store, eve, write, NOW).await?;
        let (role, _, permissions) = caches::role_of(conn, eve, store).await?.unwrap();
        assert_eq!((role, permissions), (write, BuiltInRole::Write.cache_permissions()));
        assert_eq!(caches::members(conn, store).await?.len(), 2);
        assert_eq!(caches::count_admins(conn, store).await?, 1);
        caches::set_member_role(conn, store, eve, admin).await?;
        assert_eq!(caches::administered(conn, eve).await?[0].0, store);
        caches::delete_member(conn, store, ada).await?;
        assert!(caches::roles_of(conn, ada).await?.is_empty());
        Ok(())
    })
    .await;
}
