use gradient_domain::{
    BuildId, BuildTimes, EntryPointId, Epoch, EvaluationStatus, EvaluationWait, FailureKind, JobKind, MessageLevel, Publish,
    sql::Document,
};
use gradient_nix::NarHash;
use gradient_storage::{
    Conn, builds, evaluations,
    evaluations::{NewEntryPoint, NewMessage, SourceInfo},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(
    follow_each_other,
    move_only_where_they_may,
    hear_only_their_owner,
    count_their_messages,
    count_their_entry_points,
);

async fn follow_each_other(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, project) = insert_project(conn).await?;
        let first = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let direct = insert_evaluation(conn, acme, None, Publish::All).await?;
        let second = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let row = evaluations::find(conn, second).await?;
        assert_eq!((row.previous, row.status, row.sealed), (Some(first), EvaluationStatus::Queued, false));
        assert_eq!((row.builds.total(), row.entry_points.total), (0, 0));
        assert_eq!(evaluations::find(conn, direct).await?.previous, None);
        assert_eq!(evaluations::next(conn, first).await?, Some(second));
        assert_eq!(evaluations::next(conn, second).await?, None);
        let (page, total) = evaluations::page(conn, project, 1, 0).await?;
        assert_eq!((page[0].id, page.len(), total), (second, 1, 2));
        assert_eq!(evaluations::last(conn, project).await?.unwrap().id, second);
        assert!(evaluations::is_evaluated(conn, project, row.commit).await?);
        assert!(!evaluations::is_evaluated(conn, project, gradient_domain::CommitId::new()).await?);

        evaluations::set_status(conn, first, EvaluationStatus::Aborted, None, NOW).await?;
        let open: Vec<_> = evaluations::unfinished(conn).await?.into_iter().map(|row| row.id).collect();
        assert_eq!(open, [direct, second]);
        assert_eq!(evaluations::unfinished_of_project(conn, project).await?, [second]);
        assert_eq!(evaluations::unfinished_of_organization(conn, acme).await?, [direct, second]);
        Ok(())
    })
    .await;
}

async fn move_only_where_they_may(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, project) = insert_project(conn).await?;
        let id = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let waiting = |capability| Some(EvaluationWait::EvalWorkers { capability });
        let (status, wait) = (EvaluationStatus::Waiting, waiting(JobKind::Fetch));
        assert!(evaluations::set_status(conn, id, status, wait, later(1)).await?);
        assert!(evaluations::set_status(conn, id, status, waiting(JobKind::Evaluate), later(2)).await?, "another reason");
        let row = evaluations::find(conn, id).await?;
        assert_eq!(row.waiting, waiting(JobKind::Evaluate).map(Document));
        assert!(evaluations::set_status(conn, id, EvaluationStatus::Fetching, None, later(3)).await?);
        assert!(!evaluations::set_status(conn, id, EvaluationStatus::Fetching, None, later(3)).await?);
        assert!(!evaluations::set_status(conn, id, EvaluationStatus::EvaluatingDerivation, None, later(3)).await?);
        let row = evaluations::find(conn, id).await?;
        assert_eq!((row.status, row.waiting, row.updated_at), (EvaluationStatus::Fetching, None, later(3)));

        assert!(evaluations::set_status(conn, id, EvaluationStatus::Failed, None, later(4)).await?);
        for status in EvaluationStatus::ALL.iter().copied() {
            assert!(!evaluations::set_status(conn, id, status, None, later(5)).await?, "{status}");
        }
        let row = evaluations::find(conn, id).await?;
        assert_eq!((row.status, row.finished_at), (EvaluationStatus::Failed, Some(later(4))));
        Ok(())
    })
    .await;
}

async fn hear_only_their_owner(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, project) = insert_project(conn).await?;
        let id = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let owner = worker();
        assert_eq!(evaluations::assign(conn, id, Epoch(1), worker(), NOW).await?, Some(acme));
        evaluations::set_status(conn, id, EvaluationStatus::Fetching, None, NOW).await?;
        evaluations::set_status(conn, id, EvaluationStatus::Queued, None, NOW).await?;
        assert_eq!(evaluations::find(conn, id).await?.worker, None, "a queued job has no owner");
        assert_eq!(evaluations::assign(conn, id, Epoch(2), owner, NOW).await?, Some(acme));
        let source = SourceInfo {
            path: path(9, "source"),
            nar_hash: NarHash([9; 32]),
            rev: Some("0".repeat(40)),
            rev_count: Some(u64::from(u32::MAX)),
            last_modified: Some(-1),
        };
        assert!(!evaluations::set_source(conn, id, Epoch(1), &source, NOW).await?);
        assert!(!evaluations::set_error(conn, id, Epoch(1), "late", NOW).await?);
        evaluations::touch(conn, id, Epoch(1), later(1)).await?;
        let row = evaluations::find(conn, id).await?;
        assert_eq!((row.source, row.error, row.worker, row.updated_at), (None, None, Some(owner), NOW));

        assert!(evaluations::set_source(conn, id, Epoch(2), &source, NOW).await?);
        assert!(!evaluations::set_source(conn, id, Epoch(2), &source, NOW).await?, "there is one");
        let row = evaluations::find(conn, id).await?;
        assert_eq!((row.source, row.worker), (Some(Document(source)), None));
        evaluations::set_sealed(conn, id, Epoch(1), NOW).await?;
        assert!(!evaluations::find(conn, id).await?.sealed);
        evaluations::set_error_unless_known(conn, id, FailureKind::Timeout).await?;
        evaluations::set_error_unless_known(conn, id, FailureKind::Transient).await?;
        assert!(!evaluations::set_sealed(conn, id, Epoch(2), NOW).await?, "it has no error messages");
        let row = evaluations::find(conn, id).await?;
        assert!(row.sealed && row.error.unwrap().contains("timeout"));

        evaluations::set_status(conn, id, EvaluationStatus::Aborted, None, NOW).await?;
        assert_eq!(evaluations::assign(conn, id, Epoch(3), owner, NOW).await?, None, "it has ended");
        Ok(())
    })
    .await;
}

async fn count_their_messages(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, project) = insert_project(conn).await?;
        let id = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let message = |level, message: &str| NewMessage {
            level,
            source: "nix".to_owned(),
            attribute: Some("packages.x86_64-linux.hello".to_owned()),
            message: message.to_owned(),
        };
        let batch =
            vec![message(MessageLevel::Error, "b"), message(MessageLevel::Warning, "a"), message(MessageLevel::Error, "c")];
        evaluations::insert_messages(conn, id, batch, NOW).await?;
        evaluations::insert_messages(conn, id, vec![message(MessageLevel::Notice, "last")], later(1)).await?;
        evaluations::insert_messages(conn, id, vec![], later(2)).await?;
        let row = evaluations::find(conn, id).await?;
        assert_eq!((row.error_count, row.warning_count, row.updated_at), (2, 1, later(1)));
        let texts: Vec<_> = evaluations::messages(conn, id).await?.into_iter().map(|message| message.message).collect();
        assert_eq!(texts, ["b", "a", "c", "last"]);
        assert!(evaluations::set_sealed(conn, id, Epoch::NONE, NOW).await?, "it has errors");
        Ok(())
    })
    .await;
}

async fn count_their_entry_points(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, project) = insert_project(conn).await?;
        let id = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let (_, build) = insert_build(conn, acme, 1, &[]).await?;
        let (_, done) = insert_build(conn, acme, 2, &[]).await?;
        gradient_storage::attempts::assign(conn, done, Epoch(1), worker(), NOW).await?;
        builds::complete(conn, done, Epoch(1), 17, NOW).await?;
        builds::link(conn, id, &[build, done], NOW).await?;
        let point = |attribute: &str, build, error: Option<&str>| NewEntryPoint {
            id: EntryPointId::new(),
            attribute: attribute.to_owned(),
            build,
            error: error.map(str::to_owned),
            times: BuildTimes { timeout_secs: Some(60), max_silent_secs: None },
        };
        let points = vec![point("b", Some(build), None), point("a", Some(done), None), point("c", None, Some("it throws"))];
        evaluations::insert_entry_points(conn, id, points.clone(), NOW).await?;
        evaluations::insert_entry_points(conn, id, points, NOW).await?;
        evaluations::insert_entry_points(conn, id, vec![point("d", Some(build), None)], NOW).await?;
        let counts = evaluations::find(conn, id).await?.entry_points;
        assert_eq!((counts.total, counts.completed, counts.failed), (4, 1, 1));

        let asked = BuildTimes { timeout_secs: Some(60), max_silent_secs: None };
        assert_eq!(evaluations::asked_times(conn, build).await?, [asked], "each once");
        assert!(evaluations::asked_times(conn, BuildId::new()).await?.is_empty());
        assert!(evaluations::attributes(conn, id).await?.iter().all(|point| point.times == asked));

        let views = evaluations::entry_points(conn, id).await?;
        assert_eq!(views.iter().map(|view| view.attribute.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        let first = views[0].build.as_ref().unwrap();
        assert_eq!((first.id, first.duration_ms, first.outputs.len()), (done, Some(17), 2));
        assert_eq!((views[2].build.as_ref(), views[2].error.as_deref()), (None, Some("it throws")));
        let mut roots = evaluations::entry_point_builds(conn, id).await?;
        roots.sort();
        assert_eq!(roots, [build, done]);
        Ok(())
    })
    .await;
}
