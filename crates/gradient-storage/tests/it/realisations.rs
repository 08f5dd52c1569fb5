use gradient_storage::{
    Conn,
    realisations::{self, Realisation},
};

use crate::fixtures::{NOW, insert_organization, path, with};

gradient_test_support::both_databases!(what_was_built_last_counts);

async fn what_was_built_last_counts(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, other) = (insert_organization(conn, "acme").await?, insert_organization(conn, "other").await?);
        let of = |name: &str, number| Realisation { name: name.to_owned(), path: path(number, "out") };
        realisations::set_many(conn, acme, vec![of("a", 1), of("b", 1), of("c", 2)], NOW).await?;
        realisations::set_many(conn, acme, vec![of("b", 3)], NOW).await?;
        let asked = [path(1, "out"), path(3, "out"), path(4, "out")];
        assert_eq!(realisations::of_paths(conn, acme, &asked).await?, [of("a", 1), of("b", 3)]);
        assert!(realisations::of_paths(conn, other, &asked).await?.is_empty(), "nothing is shared across organizations");
        Ok(())
    })
    .await;
}
