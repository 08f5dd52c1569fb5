use gradient_domain::{SessionId, UserId};
use gradient_storage::{Conn, sessions, sessions::Session, users};

use crate::fixtures::*;

gradient_test_support::both_databases!(
    lives_until_it_ends_or_is_ended,
    ends_the_others,
    goes_with_its_user,
    goes_some_time_after_its_end
);

fn session(user: UserId) -> Session {
    Session { id: SessionId::new(), user, created_at: NOW, expires_at: later(60), remember: true, revoked_at: None }
}

async fn lives_until_it_ends_or_is_ended(url: &str) {
    with(url, async |conn: &mut Conn| {
        let one = session(insert_user(conn, "ada").await?);
        sessions::insert(conn, &one).await?;
        assert_eq!(sessions::lookup_live(conn, one.id, later(59)).await?, Some(one));
        assert_eq!(sessions::lookup_live(conn, one.id, later(60)).await?, None);
        assert!(sessions::revoke(conn, one.id, later(1)).await?);
        assert!(!sessions::revoke(conn, one.id, later(2)).await?);
        assert_eq!(sessions::lookup_live(conn, one.id, later(2)).await?, None);
        Ok(())
    })
    .await;
}

async fn goes_some_time_after_its_end(url: &str) {
    with(url, async |conn: &mut Conn| {
        let ada = insert_user(conn, "ada").await?;
        let kept = Session { expires_at: later(61), ..session(ada) };
        sessions::insert(conn, &kept).await?;
        for _ in 0..3 {
            sessions::insert(conn, &session(ada)).await?;
        }
        let mut removed = Vec::new();
        for _ in 0..3 {
            removed.push(sessions::delete_expired(conn, later(60), 2).await?);
        }
        assert_eq!(removed, [2, 1, 0], "a few at a time");
        assert_eq!(sessions::lookup_live(conn, kept.id, later(60)).await?, Some(kept));
        Ok(())
    })
    .await;
}

async fn ends_the_others(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (ada, eve) = (insert_user(conn, "ada").await?, insert_user(conn, "eve").await?);
        let (kept, other, eves) = (session(ada), session(ada), session(eve));
        for one in [&kept, &other, &eves] {
            sessions::insert(conn, one).await?;
        }
        assert_eq!(sessions::revoke_all_but(conn, ada, kept.id, NOW).await?, 1);
        assert!(sessions::lookup_live(conn, kept.id, NOW).await?.is_some());
        assert!(sessions::lookup_live(conn, other.id, NOW).await?.is_none());
        assert_eq!(sessions::revoke_all(conn, ada, NOW).await?, 1);
        assert!(sessions::lookup_live(conn, kept.id, NOW).await?.is_none());
        assert!(sessions::lookup_live(conn, eves.id, NOW).await?.is_some());
        Ok(())
    })
    .await;
}

async fn goes_with_its_user(url: &str) {
    with(url, async |conn: &mut Conn| {
        let ada = insert_user(conn, "ada").await?;
        let one = session(ada);
        sessions::insert(conn, &one).await?;
        users::delete(conn, ada).await?;
        assert_eq!(sessions::lookup_live(conn, one.id, NOW).await?, None);
        Ok(())
    })
    .await;
}
