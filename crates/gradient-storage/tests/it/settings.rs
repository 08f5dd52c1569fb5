use gradient_storage::{Conn, settings};

use crate::fixtures::*;

gradient_test_support::both_databases!(keeps_the_first_value);

async fn keeps_the_first_value(url: &str) {
    with(url, async |conn: &mut Conn| {
        assert_eq!(settings::lookup(conn, "fingerprint").await?, None);
        assert_eq!(settings::insert_once(conn, "fingerprint", "a").await?, "a");
        assert_eq!(settings::insert_once(conn, "fingerprint", "b").await?, "a");
        assert_eq!(settings::lookup(conn, "fingerprint").await?.as_deref(), Some("a"));
        settings::set(conn, "fingerprint", "c").await?;
        assert_eq!(settings::lookup(conn, "fingerprint").await?.as_deref(), Some("c"));
        assert_missing(settings::set(conn, "other", "c").await, "setting");
        Ok(())
    })
    .await;
}
