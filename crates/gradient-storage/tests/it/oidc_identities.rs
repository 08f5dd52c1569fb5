use gradient_storage::{
    Conn,
    oidc_identities::{self, OidcIdentity},
    users,
};

use crate::fixtures::*;

gradient_test_support::both_databases!(is_one_user, goes_with_its_user);

const ISSUER: &str = "https://id.example.com";

async fn is_one_user(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (ada, eve) = (insert_user(conn, "ada").await?, insert_user(conn, "eve").await?);
        let identity = OidcIdentity { issuer: ISSUER.to_owned(), subject: "1".to_owned(), user: ada, created_at: NOW };
        oidc_identities::insert(conn, &identity).await?;
        let found = oidc_identities::lookup_user(conn, ISSUER, "1").await?;
        assert_eq!(found.map(|user| user.id), Some(ada));
        for (issuer, subject) in [(ISSUER, "2"), ("https://id.example.org", "1")] {
            assert_eq!(oidc_identities::lookup_user(conn, issuer, subject).await?, None, "{issuer} {subject}");
        }
        let taken = OidcIdentity { user: eve, ..identity.clone() };
        exists(conn, "OIDC identity", async move |conn: &mut Conn| oidc_identities::insert(conn, &taken).await).await;
        let second = OidcIdentity { subject: "2".to_owned(), ..identity };
        exists(conn, "OIDC identity", async move |conn: &mut Conn| oidc_identities::insert(conn, &second).await).await;
        Ok(())
    })
    .await;
}

async fn goes_with_its_user(url: &str) {
    with(url, async |conn: &mut Conn| {
        let user = insert_user(conn, "ada").await?;
        let identity = OidcIdentity { issuer: ISSUER.to_owned(), subject: "1".to_owned(), user, created_at: NOW };
        oidc_identities::insert(conn, &identity).await?;
        users::delete(conn, user).await?;
        assert_eq!(oidc_identities::lookup_user(conn, ISSUER, "1").await?, None);
        Ok(())
    })
    .await;
}
