use gradient_domain::{BuiltInRole, RoleScope};
use gradient_storage::{
    Conn,
    organizations::{self, Organization, OrganizationChanges},
    roles, users,
};

use crate::fixtures::*;

gradient_test_support::both_databases!(keeps_organizations, hides_what_is_deleted, pages_what_is_visible, outlives_its_creator);

async fn keeps_organizations(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = organization("acme");
        organizations::insert(conn, &acme).await?;
        let again = organization("acme");
        exists(conn, "organization", async move |conn: &mut Conn| organizations::insert(conn, &again).await).await;
        assert_eq!(organizations::find(conn, acme.id).await?, acme);
        assert_eq!(organizations::lookup_by_name(conn, &acme.name).await?, Some(acme.clone()));

        let changes = OrganizationChanges { public: Some(true), share: Some(7), ..OrganizationChanges::default() };
        organizations::set(conn, acme.id, &changes).await?;
        organizations::set(conn, acme.id, &OrganizationChanges::default()).await?;
        organizations::set_ssh_key(conn, acme.id, "ssh-ed25519 BBBB", &[5, 0, 5]).await?;
        organizations::set_known_hosts(conn, acme.id, "example.com ssh-ed25519 CCCC").await?;
        let after = organizations::find(conn, acme.id).await?;
        let ssh_public = "ssh-ed25519 BBBB".to_owned();
        assert_eq!(after, Organization { public: true, share: 7, ssh_public, ssh_private_sealed: vec![5, 0, 5], ..acme });
        assert_eq!(organizations::known_hosts(conn, after.id).await?, "example.com ssh-ed25519 CCCC");
        Ok(())
    })
    .await;
}

async fn hides_what_is_deleted(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = organization("acme");
        let ada = insert_user(conn, "ada").await?;
        organizations::insert(conn, &acme).await?;
        let admin = roles::built_in(RoleScope::Organization, BuiltInRole::Admin);
        organizations::insert_member(conn, acme.id, ada, admin, NOW).await?;
        organizations::set_deleted(conn, acme.id, NOW).await?;
        assert_missing(organizations::set_deleted(conn, acme.id, NOW).await, "organization");
        assert_missing(organizations::find(conn, acme.id).await, "organization");
        assert_missing(organizations::set(conn, acme.id, &OrganizationChanges::default()).await, "organization");
        assert_eq!(organizations::lookup_by_name(conn, &acme.name).await?, None);
        assert_eq!(organizations::role_of(conn, ada, acme.id).await?, None);
        assert!(organizations::roles_of(conn, ada).await?.is_empty());
        assert!(organizations::ids_of_member(conn, ada).await?.is_empty());
        assert!(organizations::list(conn).await?.is_empty());
        assert_eq!(organizations::page(conn, &[acme.id], 10, 0).await?, (vec![], 0));
        // The name is free again.
        organizations::insert(conn, &organization("acme")).await
    })
    .await;
}

async fn pages_what_is_visible(url: &str) {
    with(url, async |conn: &mut Conn| {
        let mut seen = Vec::new();
        for (name, public, is_seen) in [("c", true, false), ("b", false, true), ("a", true, true), ("d", false, false)] {
            let one = Organization { public, ..organization(name) };
            organizations::insert(conn, &one).await?;
            seen.extend(is_seen.then_some(one.id));
        }
        let names =
            |(rows, total): (Vec<Organization>, i64)| (rows.iter().map(|row| row.name.to_string()).collect::<String>(), total);
        assert_eq!(names(organizations::page(conn, &seen, 10, 0).await?), ("abc".to_owned(), 3));
        assert_eq!(names(organizations::page(conn, &seen, 2, 1).await?), ("bc".to_owned(), 3));
        assert_eq!(names(organizations::page(conn, &[], 10, 0).await?), ("ac".to_owned(), 2));
        Ok(())
    })
    .await;
}

async fn outlives_its_creator(url: &str) {
    with(url, async |conn: &mut Conn| {
        let ada = insert_user(conn, "ada").await?;
        let acme = Organization { created_by: Some(ada), ..organization("acme") };
        organizations::insert(conn, &acme).await?;
        users::delete(conn, ada).await?;
        assert_eq!(organizations::find(conn, acme.id).await?.created_by, None);
        Ok(())
    })
    .await;
}
