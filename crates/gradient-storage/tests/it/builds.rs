use gradient_domain::{BuildId, BuildStatus, BuildTimes, Epoch, Failure, FailureKind, Publish};
use gradient_storage::{
    Conn, StorageError, attempts,
    builds::{self, Beginning, LatestBuild, NewBuild},
    evaluations::{self, BuildCounts},
};

use crate::fixtures::*;

gradient_test_support::both_databases!(
    keeps_generations,
    is_linked_once,
    moves_only_where_it_may,
    fails_as_its_attempt_did,
    counts_in_every_evaluation,
    tells_what_is_published,
    is_restored_with_its_edges,
    many_end_at_once,
);

async fn keeps_generations(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let (derivation, first) = insert_build(conn, acme, 1, &[]).await?;
        assert_eq!(builds::latest(conn, &[derivation]).await?[&derivation].build, first);
        let again = new_build(acme, derivation, 1);
        exists(conn, "build", async move |conn: &mut Conn| builds::insert_many(conn, vec![again]).await).await;
        let second = NewBuild { beginning: Beginning::Unsupported("not yet".to_owned()), ..new_build(acme, derivation, 2) };
        builds::insert_many(conn, vec![second.clone()]).await?;
        let latest = builds::latest(conn, &[derivation]).await?[&derivation];
        assert_eq!(latest, LatestBuild::of_new(&second));
        assert!(latest.is_reusable(), "it would be refused again");
        let row = builds::find(conn, second.id).await?;
        assert_eq!((row.status, row.failure_kind), (BuildStatus::Failed, Some(FailureKind::UnsupportedDerivation)));
        assert_eq!((row.failure_message.as_deref(), row.finished_at), (Some("not yet"), Some(NOW)));
        assert_eq!(builds::organization(conn, first).await?, Some(acme));
        assert_eq!(builds::unfinished(conn).await?, [first]);
        assert_missing(builds::find(conn, BuildId::new()).await, "build");

        let view = builds::view(conn, first).await?;
        assert_eq!((view.name.as_str(), view.system.as_str(), view.status), ("package-1", "x86_64-linux", BuildStatus::Queued));
        assert_eq!(view.outputs.len(), 2);
        assert_eq!(view.features, ["big-parallel", "kvm"]);
        Ok(())
    })
    .await;
}

async fn is_linked_once(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, project) = insert_project(conn).await?;
        let evaluation = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let (_, a) = insert_build(conn, acme, 1, &[]).await?;
        let (_, b) = insert_build(conn, acme, 2, &[]).await?;
        attempts::assign(conn, b, Epoch(1), worker(), NOW).await?;
        builds::link(conn, evaluation, &[a, a, b, BuildId::new()], NOW).await?;
        builds::link(conn, evaluation, &[b, a], NOW).await?;
        builds::link(conn, evaluation, &[], NOW).await?;
        let counts = evaluations::find(conn, evaluation).await?.builds;
        assert_eq!(counts, BuildCounts { queued: 1, building: 1, ..BuildCounts::default() });
        assert_eq!(builds::newest_evaluation(conn, a).await?, Some(evaluation));
        Ok(())
    })
    .await;
}

async fn moves_only_where_it_may(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let (_, build) = insert_build(conn, acme, 1, &[]).await?;
        assert!(!builds::complete(conn, build, Epoch::NONE, 5, NOW).await?, "nobody was assigned");
        assert_eq!(attempts::assign(conn, build, Epoch(1), worker(), NOW).await?, Some(acme));
        // Lost, and given to another.
        assert!(builds::set_status(conn, build, Epoch(1), BuildStatus::Queued, None, later(1)).await?);
        assert_eq!(builds::find(conn, build).await?.worker, None);
        let second = worker();
        assert_eq!(attempts::assign(conn, build, Epoch(2), second, later(2)).await?, Some(acme));
        // The first one comes back, too late for everything.
        assert!(!builds::complete(conn, build, Epoch(1), 5, later(3)).await?);
        assert!(!builds::set_status(conn, build, Epoch(1), BuildStatus::Failed, None, later(3)).await?);
        assert_eq!(attempts::assign(conn, build, Epoch(1), worker(), later(3)).await?, None);
        let running = builds::find(conn, build).await?;
        assert_eq!((running.status, running.epoch, running.worker), (BuildStatus::Building, Epoch(2), Some(second)));
        assert_eq!((running.updated_at, running.finished_at), (later(2), None));
        // The second one ends it, once.
        assert!(builds::complete(conn, build, Epoch(2), 1234, later(4)).await?);
        assert!(!builds::complete(conn, build, Epoch(2), 9999, later(5)).await?);
        for status in BuildStatus::ALL.iter().copied() {
            assert!(!builds::set_status(conn, build, Epoch(2), status, None, later(5)).await?, "{status}");
        }
        let ended = builds::find(conn, build).await?;
        assert_eq!((ended.status, ended.duration_ms, ended.finished_at), (BuildStatus::Completed, Some(1234), Some(later(4))));
        assert!(!builds::set_status(conn, BuildId::new(), Epoch(1), BuildStatus::Aborted, None, NOW).await?);
        Ok(())
    })
    .await;
}

async fn fails_as_its_attempt_did(url: &str) {
    with(url, async |conn: &mut Conn| {
        let acme = insert_organization(conn, "acme").await?;
        let (derivation, build) = insert_build(conn, acme, 1, &[]).await?;
        let (_, dependent) = insert_build(conn, acme, 2, &[derivation]).await?;
        attempts::assign(conn, build, Epoch(1), worker(), NOW).await?;
        let failure = Failure { kind: FailureKind::Permanent, message: "builder failed with exit code 1".to_owned() };
        assert!(attempts::set_failed(conn, build, Epoch(1), &failure, 77, later(1)).await?);
        assert!(builds::set_status(conn, build, Epoch(1), BuildStatus::Failed, None, later(1)).await?);
        let status = BuildStatus::DependencyFailed;
        assert!(builds::set_status(conn, dependent, Epoch::NONE, status, Some(build), later(1)).await?);
        let failed = builds::find(conn, build).await?;
        assert_eq!((failed.failure_kind, failed.failure_message), (Some(failure.kind), Some(failure.message)));
        let dependent = builds::find(conn, dependent).await?;
        assert_eq!((dependent.status, dependent.failed_dependency), (status, Some(build)));
        assert!(builds::latest(conn, &[derivation]).await?[&derivation].is_reusable());

        let (derivation, aborted) = insert_build(conn, acme, 3, &[]).await?;
        builds::set_status(conn, aborted, Epoch::NONE, BuildStatus::Aborted, None, NOW).await?;
        assert!(!builds::latest(conn, &[derivation]).await?[&derivation].is_reusable());
        let (derivation, unlucky) = insert_build(conn, acme, 4, &[]).await?;
        attempts::assign(conn, unlucky, Epoch(1), worker(), NOW).await?;
        attempts::end(conn, unlucky, Epoch(1), FailureKind::Transient, "lost", NOW).await?;
        builds::set_status(conn, unlucky, Epoch(1), BuildStatus::Failed, None, NOW).await?;
        assert!(!builds::latest(conn, &[derivation]).await?[&derivation].is_reusable());
        Ok(())
    })
    .await;
}

async fn counts_in_every_evaluation(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, project) = insert_project(conn).await?;
        let (_, shared) = insert_build(conn, acme, 1, &[]).await?;
        let (_, own) = insert_build(conn, acme, 2, &[]).await?;
        let first = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let second = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        builds::link(conn, first, &[shared, own], NOW).await?;
        builds::link(conn, second, &[shared], NOW).await?;
        let point = |attribute: &str, build| evaluations::NewEntryPoint {
            id: gradient_domain::EntryPointId::new(),
            attribute: attribute.to_owned(),
            build,
            error: None,
            times: BuildTimes::default(),
        };
        evaluations::insert_entry_points(conn, first, vec![point("a", Some(shared)), point("b", Some(own))], NOW).await?;
        // Two names for the same thing.
        evaluations::insert_entry_points(conn, second, vec![point("a", Some(shared)), point("c", Some(shared))], NOW).await?;

        attempts::assign(conn, shared, Epoch(1), worker(), NOW).await?;
        let counts = evaluations::find(conn, first).await?.builds;
        assert_eq!((counts.queued, counts.building, counts.total()), (1, 1, 2));
        builds::complete(conn, shared, Epoch(1), 10, NOW).await?;
        builds::set_status(conn, own, Epoch::NONE, BuildStatus::Aborted, None, NOW).await?;
        let (first, second) = (evaluations::find(conn, first).await?, evaluations::find(conn, second).await?);
        assert_eq!(first.builds, BuildCounts { completed: 1, aborted: 1, ..BuildCounts::default() });
        assert_eq!(second.builds, BuildCounts { completed: 1, ..BuildCounts::default() });
        let points = |evaluation: &evaluations::Evaluation| {
            let counts = evaluation.entry_points;
            (counts.total, counts.completed, counts.failed)
        };
        assert_eq!((points(&first), points(&second)), ((2, 1, 1), (2, 2, 0)));
        let (completed, total) = evaluations::builds(conn, first.id, 10, 0, Some(BuildStatus::Completed)).await?;
        assert_eq!((completed.len(), completed[0].id, total), (1, shared, 1));
        Ok(())
    })
    .await;
}

async fn tells_what_is_published(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, project) = insert_project(conn).await?;
        let (inner, dependency) = insert_build(conn, acme, 1, &[]).await?;
        let (_, root) = insert_build(conn, acme, 2, &[inner]).await?;
        let (_, unbuilt) = insert_build(conn, acme, 3, &[]).await?;
        let runtime = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        builds::link(conn, runtime, &[dependency, root, unbuilt], NOW).await?;
        let points = [root, unbuilt].map(|build| evaluations::NewEntryPoint {
            id: gradient_domain::EntryPointId::new(),
            attribute: build.to_string(),
            build: Some(build),
            error: None,
            times: BuildTimes::default(),
        });
        evaluations::insert_entry_points(conn, runtime, points.into(), NOW).await?;
        for build in [dependency, root] {
            attempts::assign(conn, build, Epoch(1), worker(), NOW).await?;
            builds::complete(conn, build, Epoch(1), 1, NOW).await?;
        }
        assert!(builds::is_published(conn, root).await? && builds::is_published(conn, unbuilt).await?);
        assert!(!builds::is_published(conn, dependency).await?);
        assert_eq!(builds::published_outputs(conn, runtime).await?, [path(1_000_002, "package")]);

        let all = insert_evaluation(conn, acme, Some(project), Publish::All).await?;
        builds::link(conn, all, &[dependency, root, unbuilt], NOW).await?;
        assert!(builds::is_published(conn, dependency).await?);
        let mut outputs = builds::published_outputs(conn, all).await?;
        outputs.sort();
        assert_eq!(outputs, [path(1_000_001, "package"), path(1_000_002, "package")]);
        Ok(())
    })
    .await;
}

async fn is_restored_with_its_edges(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, project) = insert_project(conn).await?;
        let evaluation = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let (foreign, unlinked) = insert_build(conn, acme, 1, &[]).await?;
        let (inner, dependency) = insert_build(conn, acme, 2, &[]).await?;
        let (_, root) = insert_build(conn, acme, 3, &[inner, foreign]).await?;
        builds::link(conn, evaluation, &[root, dependency], NOW).await?;
        let owner = worker();
        attempts::assign(conn, dependency, Epoch(1), owner, NOW).await?;
        let restored = builds::of_evaluation(conn, evaluation).await?;
        assert_eq!(restored.iter().map(|build| build.build).collect::<Vec<_>>(), [dependency, root]);
        assert_eq!((restored[0].status, restored[0].epoch, restored[0].worker), (BuildStatus::Building, Epoch(1), Some(owner)));
        assert_eq!((restored[1].system.as_str(), restored[1].features.len()), ("x86_64-linux", 2));
        let mut dependencies = restored[1].dependencies.clone();
        dependencies.sort();
        assert_eq!(dependencies, [unlinked, dependency]);
        Ok::<(), StorageError>(())
    })
    .await;
}

async fn many_end_at_once(url: &str) {
    with(url, async |conn: &mut Conn| {
        let (acme, project) = insert_project(conn).await?;
        let evaluation = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let other = insert_evaluation(conn, acme, Some(project), Publish::Runtime).await?;
        let (_, a) = insert_build(conn, acme, 1, &[]).await?;
        let (_, b) = insert_build(conn, acme, 2, &[]).await?;
        let (_, assigned) = insert_build(conn, acme, 3, &[]).await?;
        let (_, kept) = insert_build(conn, acme, 4, &[]).await?;
        attempts::assign(conn, assigned, Epoch(1), worker(), NOW).await?;
        builds::link(conn, evaluation, &[a, b, assigned, kept], NOW).await?;
        builds::link(conn, other, &[b], NOW).await?;
        let root = evaluations::NewEntryPoint {
            id: gradient_domain::EntryPointId::new(),
            attribute: "packages.b".to_owned(),
            build: Some(b),
            error: None,
            times: BuildTimes::default(),
        };
        evaluations::insert_entry_points(conn, other, vec![root], NOW).await?;

        let wanted = [a, b, assigned, BuildId::new()];
        let ended = builds::end_unassigned(conn, &wanted, BuildStatus::DependencyFailed, Some(kept), later(1)).await?;
        assert_eq!(ended, [a, b].into_iter().collect(), "the other one is a worker's");
        let row = builds::find(conn, b).await?;
        assert_eq!((row.status, row.failed_dependency), (BuildStatus::DependencyFailed, Some(kept)));
        assert_eq!((row.finished_at, row.updated_at), (Some(later(1)), later(1)));
        let counts = evaluations::find(conn, evaluation).await?.builds;
        assert_eq!(counts, BuildCounts { queued: 1, building: 1, dependency_failed: 2, ..BuildCounts::default() });
        let counted = evaluations::find(conn, other).await?;
        assert_eq!((counted.builds.dependency_failed, counted.builds.queued, counted.entry_points.failed), (1, 0, 1));
        let again = builds::end_unassigned(conn, &wanted, BuildStatus::Aborted, None, later(2)).await?;
        assert!(again.is_empty(), "they have ended");
        Ok(())
    })
    .await;
}
