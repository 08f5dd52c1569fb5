use gradient_domain::BuildId;
use gradient_storage::{Conn, builds, builds::GraphEdge};

use crate::fixtures::*;

gradient_test_support::both_databases!(is_walked_breadth_first);

async fn is_walked_breadth_first(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        // A diamond on a stem: root needs left and right, which need bottom, which needs stem.
        let (stem_drv, stem) = insert_build(conn, acme, 1, &[]).await?;
        let (bottom_drv, bottom) = insert_build(conn, acme, 2, &[stem_drv]).await?;
        let (left_drv, left) = insert_build(conn, acme, 3, &[bottom_drv]).await?;
        let (right_drv, right) = insert_build(conn, acme, 4, &[bottom_drv]).await?;
        let (_, root) = insert_build(conn, acme, 5, &[left_drv, right_drv]).await?;
        insert_build(conn, acme, 6, &[]).await?;
        let again = new_build(acme, stem_drv, 2);
        let stem_again = again.id;
        builds::insert_many(conn, vec![again]).await?;
        assert_ne!(stem, stem_again);

        let graph = builds::graph(conn, root, 100).await?;
        let ids: Vec<BuildId> = graph.nodes.iter().map(|node| node.id).collect();
        assert_eq!((ids[0], ids[3], ids[4], ids.len()), (root, bottom, stem_again, 5));
        let mut edges = graph.edges.clone();
        edges.sort();
        let mut expected = [(left, root), (right, root), (bottom, left), (bottom, right), (stem_again, bottom)]
            .map(|(source, target)| GraphEdge { source, target });
        expected.sort();
        assert_eq!(edges, expected);
        assert_eq!(graph.nodes[0].name, "package-5");

        let cut = builds::graph(conn, root, 3).await?;
        assert_eq!((cut.nodes.len(), cut.edges.len()), (3, 2));
        assert_eq!(builds::graph(conn, root, 0).await?.nodes.len(), 1);
        let names = |nodes: Vec<builds::GraphNode>| nodes.into_iter().map(|node| node.id).collect::<Vec<_>>();
        assert_eq!(names(builds::dependencies(conn, root).await?), [left, right]);
        assert_eq!(names(builds::dependents(conn, bottom).await?), [left, right]);
        assert_missing(builds::graph(conn, BuildId::new(), 10).await, "build");
        Ok(())
    })
    .await;
}
