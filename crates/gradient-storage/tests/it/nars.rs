use gradient_nix::NarHash;
use gradient_storage::{
    Conn,
    nars::{self, NewNar},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(are_claimed_again_and_again);

async fn are_claimed_again_and_again(url: &str) {
    with(url, async |conn: &mut Conn| {
        let nar_hash = insert_nar(conn, 1).await?;
        let first = nars::lookup(conn, nar_hash).await?.unwrap();
        // Another upload of the same NAR, compressed otherwise: the file that is there stays.
        let file_hash = NarHash([42; 32]);
        nars::claim(conn, NewNar { nar_hash, nar_size: 1000, file_hash, file_size: 299, created_at: later(5) }).await?;
        let nar = nars::lookup(conn, nar_hash).await?.unwrap();
        assert_eq!(nar, first);
        assert_eq!((nar.nar_size, nar.file_size, nar.created_at, nar.condemned_at), (1000, 300, NOW, None));
        assert_eq!(nars::lookup(conn, NarHash([9; 32])).await?, None);
        Ok(())
    })
    .await;
}
