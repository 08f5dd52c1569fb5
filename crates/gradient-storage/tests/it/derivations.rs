use gradient_domain::DerivationId;
use gradient_nix::InputDerivationHash::{Deferred, FixedOutput, Regular};
use gradient_storage::{
    Conn,
    derivations::{self, KnownDerivation, NewDerivation},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(keeps_derivations, tells_hashes, gives_way_to_what_is_there, takes_many_at_once);

async fn keeps_derivations(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let (inner, mut outer) = (derivation(acme, 1, &[]), derivation(acme, 2, &[]));
        outer.inputs = vec![inner.id];
        let (inner_id, outer_id) = (inner.id, outer.id);
        derivations::insert_many(conn, vec![inner.clone(), outer.clone()]).await?;
        let found = derivations::find(conn, inner_id).await?;
        assert_eq!(
            (found.drv_path, found.name, found.system),
            (inner.drv_path.clone(), inner.name.clone(), inner.system.clone())
        );
        assert_eq!((found.features, found.aterm), (inner.features.clone(), inner.aterm.clone()));
        let outputs = derivations::outputs(conn, &[inner_id, outer_id]).await?;
        let out = (String::from("out"), inner.outputs["out"].clone());
        assert_eq!(outputs[&inner_id], [("dev".to_owned(), None), out.clone()]);
        let paths = derivations::output_paths(conn, acme, &[inner.drv_path.clone(), path(77, "unknown.drv")]).await?;
        assert_eq!(paths.len(), 1);
        assert_eq!(paths[&inner.drv_path].paths.get("out"), out.1.as_ref());
        assert_eq!(paths[&inner.drv_path].paths.get("dev"), None);
        assert_eq!(paths[&inner.drv_path].input_hash, inner.input_hash);
        let dev = path(78, "inner-dev");
        derivations::set_output_paths(conn, inner_id, &[("dev".to_owned(), dev.clone())]).await?;
        let paths = derivations::output_paths(conn, acme, std::slice::from_ref(&inner.drv_path)).await?;
        assert_eq!(paths[&inner.drv_path].paths.get("dev"), Some(&dev));
        let path = out.1.unwrap();
        assert_eq!(derivations::lookup_by_output(conn, acme, &path).await?, Some(inner_id));
        assert_missing(derivations::find(conn, DerivationId::new()).await, "derivation");
        Ok(())
    })
    .await;
}

async fn tells_hashes(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, other) = (insert_organization(conn, "acme").await?, insert_organization(conn, "other").await?);
        let hashes = [Regular([1; 32]), FixedOutput([2; 32]), Deferred(Some([3; 32])), Deferred(None)];
        let new: Vec<NewDerivation> = hashes
            .iter()
            .zip(1..)
            .map(|(hash, number)| NewDerivation { input_hash: *hash, ..derivation(acme, number, &[]) })
            .collect();
        let paths: Vec<_> = new.iter().map(|new| new.drv_path.clone()).collect();
        derivations::insert_many(conn, new.clone()).await?;
        let known = derivations::known(conn, acme, &paths).await?;
        for new in &new {
            assert_eq!(known[&new.drv_path], KnownDerivation { id: new.id, input_hash: new.input_hash });
        }
        assert!(derivations::known(conn, other, &paths).await?.is_empty(), "nothing is shared across organizations");

        // What an earlier version did not compute is there once it is.
        let late = new.last().unwrap();
        derivations::set_deferred(conn, late.id, [4; 32], vec!["ca-derivations".to_owned()]).await?;
        let known = derivations::known(conn, acme, &paths).await?;
        assert_eq!(known[&late.drv_path].input_hash, Deferred(Some([4; 32])));
        assert_eq!(derivations::find(conn, late.id).await?.features, ["ca-derivations"]);
        Ok(())
    })
    .await;
}

async fn gives_way_to_what_is_there(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let first = derivation(acme, 1, &[]);
        derivations::insert_many(conn, vec![first.clone()]).await?;
        // Another evaluation found the same derivation, and one that needs it.
        let again = derivation(acme, 1, &[]);
        let outer = derivation(acme, 2, &[again.id]);
        let (again_id, outer_id, outer_path) = (again.id, outer.id, outer.drv_path.clone());
        let ids = derivations::insert_many(conn, vec![again, outer]).await?;
        assert_eq!((ids[&first.drv_path], ids[&outer_path]), (first.id, outer_id));
        assert_eq!(derivations::lookup(conn, again_id).await?, None);
        assert_eq!(derivations::outputs(conn, &[first.id]).await?[&first.id].len(), 2);
        Ok(())
    })
    .await;
}

async fn takes_many_at_once(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let mut new: Vec<NewDerivation> = Vec::new();
        for number in 0..5_000 {
            let inputs: Vec<_> = new.iter().rev().take(3).map(|input| input.id).collect();
            new.push(derivation(acme, number, &inputs));
        }
        let paths: Vec<_> = new.iter().map(|new| new.drv_path.clone()).collect();
        assert_eq!(derivations::insert_many(conn, new).await?.len(), 5_000);
        assert_eq!(derivations::known(conn, acme, &paths).await?.len(), 5_000);
        Ok(())
    })
    .await;
}
