use gradient_domain::Epoch;
use gradient_nix::NarHash;
use gradient_storage::{
    Conn, StorageError,
    paths::{self, NewOrganizationPath, NewStagedOutput},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(belong_to_an_organization, are_staged_by_attempt);

async fn belong_to_an_organization(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, other) = (insert_organization(conn, "acme").await?, insert_organization(conn, "other").await?);
        let nar_hash = insert_nar(conn, 1).await?;
        let new = |number, references: Vec<_>| NewOrganizationPath {
            path: path(number, "hello"),
            nar_hash,
            references,
            deriver: Some(path(50, "hello.drv")),
            content_address: None,
        };
        let rows = vec![new(1, vec![]), new(2, vec![path(1, "hello"), path(2, "hello")])];
        paths::insert_many(conn, acme, rows.clone(), NOW).await?;
        paths::insert_many(conn, acme, rows, NOW).await?;
        let asked = [path(3, "hello"), path(2, "hello"), path(1, "other"), path(1, "hello")];
        assert_eq!(paths::missing(conn, acme, &asked).await?, [path(3, "hello"), path(1, "other")]);
        assert_eq!(paths::missing(conn, other, &asked).await?, asked);
        let mut found = paths::find_many(conn, acme, &asked).await?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].nar_hash, found[1].nar_size), (nar_hash, 1000));
        assert_eq!(found[1].references, [path(1, "hello"), path(2, "hello")]);
        assert_eq!((found[0].references.len(), found[0].deriver.clone()), (0, Some(path(50, "hello.drv"))));

        let unknown = NewOrganizationPath { nar_hash: NarHash([99; 32]), ..new(7, vec![]) };
        let refused: Result<(), StorageError> =
            conn.transaction(async move |conn: &mut Conn| paths::insert_many(conn, acme, vec![unknown], NOW).await).await;
        assert!(matches!(refused, Err(StorageError::BrokenReference(_))), "{refused:?}");
        let many: Vec<_> = (100..25_100).map(|number| path(number, "hello")).collect();
        assert_eq!(paths::missing(conn, acme, &many).await?.len(), many.len());
        Ok(())
    })
    .await;
}

async fn are_staged_by_attempt(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let (_, build) = insert_build(conn, acme, 1, &[]).await?;
        let (first, second) = (insert_nar(conn, 1).await?, insert_nar(conn, 2).await?);
        let staged = |epoch, number, nar_hash| NewStagedOutput {
            build,
            epoch,
            path: path(number, "out"),
            nar_hash,
            references: vec![path(number, "out")],
            content_address: Some("fixed:r:sha256:0".to_owned()),
            build_products: vec![number.try_into().unwrap(), 0, 0xff],
        };
        paths::stage(conn, staged(Epoch(1), 1, first), NOW).await?;
        paths::stage(conn, staged(Epoch(2), 2, first), NOW).await?;
        paths::stage(conn, staged(Epoch(2), 1, first), NOW).await?;
        paths::stage(conn, staged(Epoch(2), 1, second), NOW).await?;
        let found = paths::list_staged(conn, build, Epoch(2)).await?;
        assert_eq!(found.iter().map(|output| output.path.clone()).collect::<Vec<_>>(), [path(1, "out"), path(2, "out")]);
        assert_eq!((found[0].nar_hash, found[0].references.as_slice()), (second, [path(1, "out")].as_slice()));
        assert_eq!(found[1].build_products, [2, 0, 0xff]);
        assert_eq!(paths::list_staged(conn, build, Epoch(1)).await?[0].nar_hash, first);
        assert_eq!(paths::delete_staged(conn, build).await?, 3);
        assert!(paths::list_staged(conn, build, Epoch(2)).await?.is_empty());
        Ok(())
    })
    .await;
}
