use gradient_domain::{ApiKeyId, BuiltInRole, CachePermissions, OrgPermission, Permissions, UserId};
use gradient_storage::{
    Conn, Digest, api_keys,
    api_keys::{ApiKey, ApiKeyChanges},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(keeps_keys, changes_keys);

fn key(user: UserId, name: &str, byte: u8) -> ApiKey {
    ApiKey {
        id: ApiKeyId::new(),
        user,
        name: name.parse().unwrap(),
        secret_hash: Digest([byte; 32]),
        permissions: BuiltInRole::Write.permissions(),
        cache_permissions: CachePermissions::ALL,
        organization: None,
        cache: None,
        created_at: NOW,
        last_used_at: None,
        expires_at: Some(later(5)),
    }
}

async fn keeps_keys(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (ada, eve) = (insert_user(conn, "ada").await?, insert_user(conn, "eve").await?);
        let (deploy, build) = (key(ada, "deploy", 1), key(ada, "build", 2));
        api_keys::insert(conn, &deploy).await?;
        api_keys::insert(conn, &build).await?;
        let again = key(ada, "deploy", 3);
        exists(conn, "API key", async move |conn: &mut Conn| api_keys::insert(conn, &again).await).await;
        api_keys::insert(conn, &key(eve, "deploy", 4)).await?;

        assert_eq!(api_keys::list(conn, ada).await?, [build.clone(), deploy.clone()]);
        assert_eq!(api_keys::lookup_by_hash(conn, Digest([1; 32])).await?, Some(deploy.clone()));
        assert_eq!(api_keys::lookup_by_hash(conn, Digest([9; 32])).await?, None);
        assert_eq!(api_keys::lookup(conn, eve, deploy.id).await?, None, "another user's");
        api_keys::touch(conn, deploy.id, later(3)).await?;
        assert_eq!(api_keys::lookup(conn, ada, deploy.id).await?.unwrap().last_used_at, Some(later(3)));
        api_keys::delete_by_name(conn, ada, &deploy.name).await?;
        assert_missing(api_keys::delete_by_name(conn, ada, &deploy.name).await, "API key");
        assert_eq!(api_keys::list(conn, eve).await?.len(), 1);
        Ok(())
    })
    .await;
}

async fn changes_keys(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (ada, eve) = (insert_user(conn, "ada").await?, insert_user(conn, "eve").await?);
        let acme = insert_organization(conn, "acme").await?;
        let one = ApiKey { organization: Some(acme), ..key(ada, "deploy", 1) };
        api_keys::insert(conn, &one).await?;
        api_keys::set(conn, ada, one.id, &ApiKeyChanges::default()).await?;
        assert_eq!(api_keys::lookup(conn, ada, one.id).await?, Some(one.clone()));

        let view = Permissions::from_iter([OrgPermission::ViewOrg]);
        let changes = ApiKeyChanges { permissions: Some(view), organization: Some(None), ..ApiKeyChanges::default() };
        assert_missing(api_keys::set(conn, eve, one.id, &changes).await, "API key");
        api_keys::set(conn, ada, one.id, &changes).await?;
        let after = api_keys::lookup(conn, ada, one.id).await?.unwrap();
        assert_eq!((after.permissions, after.organization), (view, None));
        assert_eq!(after.name, one.name);
        Ok(())
    })
    .await;
}
