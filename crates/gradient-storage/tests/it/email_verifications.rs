use gradient_domain::UserId;
use gradient_storage::{
    Conn, Digest,
    email_verifications::{self, EmailVerification},
    users,
};

use crate::fixtures::*;

gradient_test_support::both_databases!(proves_once, another_one_counts, others_stay_good, ends, goes_with_its_user);

fn verification(user: UserId, token: u8) -> EmailVerification {
    let email = "new@example.com".parse().unwrap();
    EmailVerification { user, email, token_hash: Digest([token; 32]), created_at: NOW, expires_at: later(60) }
}

async fn proves_once(url: &str) {
    with(url, async |conn: &mut Conn| {
        let one = verification(insert_user(conn, "ada").await?, 1);
        email_verifications::replace(conn, &one).await?;
        assert_eq!(email_verifications::lookup(conn, one.user).await?.as_ref(), Some(&one));
        assert_eq!(email_verifications::take(conn, Digest([2; 32])).await?, None);
        assert_eq!(email_verifications::take(conn, one.token_hash).await?, Some(one.clone()));
        assert_eq!(email_verifications::take(conn, one.token_hash).await?, None);
        assert_eq!(email_verifications::lookup(conn, one.user).await?, None);
        Ok(())
    })
    .await;
}

async fn another_one_counts(url: &str) {
    with(url, async |conn: &mut Conn| {
        let old = verification(insert_user(conn, "ada").await?, 1);
        let other = verification(insert_user(conn, "eve").await?, 3);
        let new = EmailVerification { token_hash: Digest([2; 32]), ..old.clone() };
        for one in [&old, &other, &new] {
            email_verifications::replace(conn, one).await?;
        }
        assert_eq!(email_verifications::take(conn, old.token_hash).await?, None);
        assert_eq!(email_verifications::take(conn, new.token_hash).await?, Some(new.clone()));
        assert_eq!(email_verifications::lookup(conn, other.user).await?.as_ref(), Some(&other));
        email_verifications::delete(conn, other.user).await?;
        assert_eq!(email_verifications::lookup(conn, other.user).await?, None);
        Ok(())
    })
    .await;
}

async fn others_stay_good(url: &str) {
    with(url, async |conn: &mut Conn| {
        let old = verification(insert_user(conn, "ada").await?, 1);
        let new = EmailVerification { token_hash: Digest([2; 32]), created_at: later(1), ..old.clone() };
        for one in [&old, &new] {
            email_verifications::insert(conn, one).await?;
        }
        assert_eq!(email_verifications::lookup(conn, old.user).await?.as_ref(), Some(&new));
        assert_eq!(email_verifications::take(conn, old.token_hash).await?, Some(old));
        assert_eq!(email_verifications::take(conn, new.token_hash).await?, None, "one is enough");
        Ok(())
    })
    .await;
}

async fn ends(url: &str) {
    with(url, async |conn: &mut Conn| {
        for (token, name) in [(1, "ada"), (2, "eve"), (3, "joe")] {
            let user = insert_user(conn, name).await?;
            email_verifications::replace(conn, &verification(user, token)).await?;
        }
        assert_eq!(email_verifications::delete_expired(conn, later(59), 10).await?, 0);
        assert_eq!(email_verifications::delete_expired(conn, later(60), 2).await?, 2);
        assert_eq!(email_verifications::delete_expired(conn, later(60), 2).await?, 1);
        Ok(())
    })
    .await;
}

async fn goes_with_its_user(url: &str) {
    with(url, async |conn: &mut Conn| {
        let one = verification(insert_user(conn, "ada").await?, 1);
        email_verifications::replace(conn, &one).await?;
        users::delete(conn, one.user).await?;
        assert_eq!(email_verifications::take(conn, one.token_hash).await?, None);
        Ok(())
    })
    .await;
}
