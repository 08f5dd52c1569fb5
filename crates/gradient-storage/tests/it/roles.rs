use gradient_domain::{BuiltInRole, CachePermissions, Permissions, RoleId, RoleScope};
use gradient_storage::{
    Conn, StorageError, organizations,
    roles::{self, Role, RoleChanges, RoleOwner},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(has_the_built_in_ones, keeps_own_roles_apart);

async fn has_the_built_in_ones(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, cache) = (insert_organization(conn, "acme").await?, insert_cache(conn, "store").await?);
        for role in BuiltInRole::ALL.iter().copied() {
            let found = roles::lookup_by_name(conn, RoleOwner::Organization(acme), role.as_str()).await?.unwrap();
            assert_eq!(found.id, roles::built_in(RoleScope::Organization, role));
            assert_eq!((found.permissions(), found.cache_permissions()), (role.permissions(), CachePermissions::NONE));
            assert!(found.is_built_in());
            let found = roles::lookup_by_name(conn, RoleOwner::Cache(cache), role.as_str()).await?.unwrap();
            assert_eq!(found.id, roles::built_in(RoleScope::Cache, role));
            assert_eq!((found.permissions(), found.cache_permissions()), (Permissions::NONE, role.cache_permissions()));
        }
        let names: Vec<_> = roles::list(conn, RoleOwner::Cache(cache)).await?.into_iter().map(|role| role.name).collect();
        assert_eq!(names.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["Admin", "Write", "View"]);
        Ok(())
    })
    .await;
}

async fn keeps_own_roles_apart(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, other) = (insert_organization(conn, "acme").await?, insert_organization(conn, "other").await?);
        let role = Role {
            id: RoleId::new(),
            scope: RoleScope::Organization,
            organization: Some(acme),
            cache: None,
            name: "release".parse().unwrap(),
            permissions: 1,
        };
        roles::insert(conn, &role).await?;
        let again = Role { id: RoleId::new(), ..role.clone() };
        exists(conn, "role", async move |conn: &mut Conn| roles::insert(conn, &again).await).await;
        assert_eq!(roles::lookup_by_name(conn, RoleOwner::Organization(acme), "release").await?, Some(role.clone()));
        assert_eq!(roles::lookup_by_name(conn, RoleOwner::Organization(other), "release").await?, None);

        roles::set(conn, role.id, &RoleChanges { name: None, permissions: Some(3) }).await?;
        roles::set(conn, role.id, &RoleChanges::default()).await?;
        let changed = Role { permissions: 3, ..role.clone() };
        assert_eq!(roles::lookup(conn, role.id).await?, Some(changed));
        let taken = Role { id: RoleId::new(), name: "taken".parse().unwrap(), ..role.clone() };
        roles::insert(conn, &taken).await?;
        let rename = RoleChanges { name: Some(taken.name.clone()), permissions: None };
        let id = role.id;
        exists(conn, "role", async move |conn: &mut Conn| roles::set(conn, id, &rename).await).await;

        let ada = insert_user(conn, "ada").await?;
        organizations::insert_member(conn, acme, ada, role.id, NOW).await?;
        let id = role.id;
        let used: Result<(), StorageError> = conn.transaction(async move |conn: &mut Conn| roles::delete(conn, id).await).await;
        assert!(matches!(used, Err(StorageError::BrokenReference(_))), "{used:?}");
        organizations::delete_member(conn, acme, ada).await?;
        roles::delete(conn, role.id).await?;
        assert_eq!(roles::lookup(conn, role.id).await?, None);
        let admin = roles::built_in(RoleScope::Organization, BuiltInRole::Admin);
        assert_missing(roles::delete(conn, admin).await, "role");
        let weaker = RoleChanges { name: None, permissions: Some(1) };
        assert_missing(roles::set(conn, admin, &weaker).await, "role");
        Ok(())
    })
    .await;
}
