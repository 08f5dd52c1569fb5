use gradient_domain::Priority;
use gradient_storage::{
    Conn, organizations,
    projects::{self, Project, ProjectChanges},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(keeps_projects, hides_what_is_deleted, lists_what_is_polled);

async fn keeps_projects(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, other) = (insert_organization(conn, "acme").await?, insert_organization(conn, "other").await?);
        let main =
            Project { branch: Some("main".to_owned()), priority: Priority::try_from(-10).unwrap(), ..project(acme, "main") };
        projects::insert(conn, &main).await?;
        let again = project(acme, "main");
        exists(conn, "project", async move |conn: &mut Conn| projects::insert(conn, &again).await).await;
        projects::insert(conn, &project(other, "main")).await?;
        projects::insert(conn, &project(acme, "extra")).await?;
        assert_eq!(projects::find(conn, main.id).await?, main);
        assert_eq!(projects::lookup_by_name(conn, acme, &main.name).await?, Some(main.clone()));
        let (page, total) = projects::page(conn, acme, 1, 1).await?;
        assert_eq!((page.as_slice(), total), ([main.clone()].as_slice(), 2));

        let changes = ProjectChanges { branch: Some(None), active: Some(false), ..ProjectChanges::default() };
        projects::set(conn, main.id, &changes).await?;
        projects::set_last_check(conn, main.id, later(9)).await?;
        let after = projects::find(conn, main.id).await?;
        assert_eq!(after, Project { branch: None, active: false, last_check_at: Some(later(9)), ..main.clone() });
        let taken = ProjectChanges { name: Some("extra".parse().unwrap()), ..ProjectChanges::default() };
        exists(conn, "project", async move |conn: &mut Conn| projects::set(conn, main.id, &taken).await).await;
        Ok(())
    })
    .await;
}

async fn hides_what_is_deleted(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let main = project(acme, "main");
        projects::insert(conn, &main).await?;
        projects::set_deleted(conn, main.id, NOW).await?;
        assert_missing(projects::find(conn, main.id).await, "project");
        assert_missing(projects::set_deleted(conn, main.id, NOW).await, "project");
        assert_eq!(projects::lookup_by_name(conn, acme, &main.name).await?, None);
        assert_eq!(projects::page(conn, acme, 10, 0).await?, (vec![], 0));
        projects::insert(conn, &project(acme, "main")).await
    })
    .await;
}

async fn lists_what_is_polled(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, gone) = (insert_organization(conn, "acme").await?, insert_organization(conn, "gone").await?);
        let polled = Project { poll_interval_secs: 60, ..project(acme, "polled") };
        projects::insert(conn, &polled).await?;
        projects::insert(conn, &project(acme, "manual")).await?;
        projects::insert(conn, &Project { active: false, poll_interval_secs: 60, ..project(acme, "inactive") }).await?;
        projects::insert(conn, &Project { poll_interval_secs: 60, ..project(gone, "polled") }).await?;
        organizations::set_deleted(conn, gone, NOW).await?;
        assert_eq!(projects::list_polled(conn).await?, [polled]);
        Ok(())
    })
    .await;
}
