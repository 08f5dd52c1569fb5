//! What was deleted goes, from the database and from the store; what others share stays.

use std::{collections::BTreeMap, time::Duration};

use gradient_blobs::BlobKey;
use gradient_domain::{BuildId, Moment, WorkerId};
use gradient_engine::{Engine, EngineSettings, Project};
use gradient_nix::NarHash;
use gradient_protocol::ToServer;
use gradient_storage::{Conn, attempts, builds, nars, projects, remains};

use crate::{
    repository::{Repository, insert},
    tenants::until,
    world::{Tenant, World, connect},
};

gradient_test_support::both_databases!(
    nothing_is_left_of_a_deleted_organization,
    what_another_organization_has_stays,
    what_is_needed_again_is_spared,
    a_deleted_project_takes_its_evaluations_along,
    a_nar_that_comes_while_it_is_removed_is_kept,
);

/// Beyond every grace.
pub(crate) fn later(now: Moment, hours: u64) -> Moment {
    now.plus(Duration::from_hours(hours))
}

async fn nar_is_there(world: &World, hash: NarHash) -> bool {
    let row = world.storage.read(async move |conn: &mut Conn| nars::lookup(conn, hash).await).await.unwrap();
    let file = world.blobs.size(&BlobKey::nar(&hash)).await.unwrap();
    assert!(file.is_some() || row.is_none(), "a row without its file");
    file.is_some()
}

pub(crate) async fn build_is_there(world: &World, id: BuildId) -> bool {
    world.storage.read(async move |conn: &mut Conn| builds::lookup(conn, id).await).await.unwrap().is_some()
}

/// The tenant's build says something, ends with its evaluation, and its log becomes a blob.
async fn end_with_a_log(world: &World, engine: &Engine, tenant: &Tenant) -> BlobKey {
    let running = vec![(tenant.job(), Tenant::EPOCH)];
    let mut worker = connect(engine, tenant.worker, &tenant.token, running).await.unwrap();
    let (job, epoch, bytes) = (tenant.job(), Tenant::EPOCH, b"so far".to_vec());
    worker.session.receive(ToServer::Log { job, epoch, offset: 0, bytes }).await.unwrap();
    engine.abort_evaluation(tenant.evaluation).await.unwrap();
    let build = tenant.build;
    until(async || {
        let attempt = world.storage.read(async move |conn: &mut Conn| attempts::lookup(conn, build, None).await).await.unwrap();
        attempt.unwrap().log_frames.is_some()
    })
    .await;
    let log = BlobKey::log(build.uuid(), epoch.0);
    assert!(world.blobs.size(&log).await.unwrap().is_some());
    log
}

async fn nothing_is_left_of_a_deleted_organization(url: &str) {
    let world = World::new(url).await;
    let tenant = world.tenant("tenant").await;
    let engine = world.start(EngineSettings::default()).await;
    let log = end_with_a_log(&world, &engine, &tenant).await;
    let now = Moment::now();

    engine.delete_organization(tenant.organization).await.unwrap();
    engine.reap(now).await.unwrap();
    assert!(build_is_there(&world, tenant.build).await, "whoever still writes of it has not come to an end");
    assert!(world.blobs.size(&log).await.unwrap().is_some());

    engine.reap(later(now, 2)).await.unwrap();
    assert!(!build_is_there(&world, tenant.build).await);
    assert_eq!(world.blobs.size(&log).await.unwrap(), None);
    // Its row only goes when evaluations, builds, derivations, commits and paths have gone.
    let left = world.storage.read(async |conn: &mut Conn| remains::deleted_organizations(conn).await).await.unwrap();
    assert_eq!(left, []);
    assert!(nar_is_there(&world, NarHash([1; 32])).await, "it is only condemned");

    engine.reap(later(now, 25)).await.unwrap();
    assert!(!nar_is_there(&world, NarHash([1; 32])).await);
    let left = world.storage.read(async |conn: &mut Conn| remains::discarded_nars(conn, 10).await).await.unwrap();
    assert_eq!(left, []);
}

async fn what_another_organization_has_stays(url: &str) {
    let world = World::new(url).await;
    let (gone, other) = (world.tenant("gone").await, world.tenant("other").await);
    let engine = world.start(EngineSettings::default()).await;
    let opened = connect(&engine, other.worker, &other.token, vec![(other.job(), Tenant::EPOCH)]).await.unwrap();

    engine.delete_organization(gone.organization).await.unwrap();
    for hours in [2, 30, 60] {
        engine.reap(later(Moment::now(), hours)).await.unwrap();
    }
    assert!(!build_is_there(&world, gone.build).await);
    let token = &opened.welcome.session_token;
    let served = engine.path_nar(token, other.job(), Tenant::EPOCH, other.path.clone()).await;
    assert!(served.is_ok(), "{:?}", served.err());
    assert!(build_is_there(&world, other.build).await);
}

async fn what_is_needed_again_is_spared(url: &str) {
    let world = World::new(url).await;
    let gone = world.tenant("gone").await;
    let engine = world.start(EngineSettings::default()).await;
    let (now, nar) = (Moment::now(), NarHash([1; 32]));
    engine.delete_organization(gone.organization).await.unwrap();
    engine.reap(later(now, 2)).await.unwrap();
    let condemned = world.storage.read(async move |conn: &mut Conn| nars::lookup(conn, nar).await).await.unwrap();
    assert!(condemned.unwrap().condemned_at.is_some());

    // The claim clears the mark in its own transaction.
    world.tenant("other").await;
    let claimed = world.storage.read(async move |conn: &mut Conn| nars::lookup(conn, nar).await).await.unwrap();
    assert_eq!(claimed.unwrap().condemned_at, None);
    engine.reap(later(now, 30)).await.unwrap();
    assert!(nar_is_there(&world, nar).await);
}

async fn a_deleted_project_takes_its_evaluations_along(url: &str) {
    let (world, repository, worker) = (World::new(url).await, Repository::new(), WorkerId::random());
    let (organization, token) = world.register("acme", worker, Moment::now()).await;
    let [gone, kept] = ["gone", "kept"].map(|name| Project { poll_interval_secs: 0, ..repository.project(organization, name) });
    insert(&world, gone.clone()).await;
    insert(&world, kept.clone()).await;
    let tenant = world.tenant_of(organization, worker, token, Some(gone.id)).await;
    let shared = world.evaluation_of(&kept, &[tenant.build]).await;
    let engine = world.start(EngineSettings::default()).await;

    engine.delete_project(gone.id).await.unwrap();
    insert(&world, Project { id: gradient_domain::ProjectId::new(), ..gone.clone() }).await;
    engine.reap(later(Moment::now(), 2)).await.unwrap();
    assert!(engine.lookup_evaluation(tenant.evaluation).await.unwrap().is_none());
    assert!(engine.lookup_evaluation(shared).await.unwrap().is_some());
    assert!(build_is_there(&world, tenant.build).await, "another project's evaluation needs it");
    let left = world.storage.read(async |conn: &mut Conn| remains::deleted_projects(conn).await).await.unwrap();
    assert_eq!(left, []);
    let same_name = gone.name.clone();
    let found = async move |conn: &mut Conn| projects::lookup_by_name(conn, organization, &same_name).await;
    assert!(world.storage.read(found).await.unwrap().is_some(), "the name's new holder is another project");
}

/// A NAR of one file, compressed.
fn compressed_nar(text: &str) -> bytes::Bytes {
    let mut nar = Vec::new();
    for word in ["nix-archive-1", "(", "type", "regular", "contents", text, ")"] {
        nar.extend_from_slice(&(word.len() as u64).to_le_bytes());
        nar.extend_from_slice(word.as_bytes());
        nar.resize(nar.len().next_multiple_of(8), 0);
    }
    zstd::bulk::compress(&nar, 3).unwrap().into()
}

/// Again and again the last one who has a NAR is gone, and it is uploaded anew while its file is being removed.
async fn a_nar_that_comes_while_it_is_removed_is_kept(url: &str) {
    let world = World::new(url).await;
    let mut tenants = BTreeMap::new();
    for number in 0..8 {
        tenants.insert(number, world.tenant(&format!("tenant-{number}")).await);
    }
    let engine = world.start(EngineSettings::default()).await;
    let bytes = compressed_nar("a package");
    let upload = async |tenant: &Tenant| {
        let running = vec![(tenant.job(), Tenant::EPOCH)];
        let opened = connect(&engine, tenant.worker, &tenant.token, running).await.unwrap();
        let (token, path) = (&opened.welcome.session_token, crate::world::store_path(2, "package"));
        let mut upload = engine.begin_upload(token, tenant.job(), Tenant::EPOCH, path, None).await.unwrap();
        upload.write(bytes.clone()).await.unwrap();
        upload.finish().await.unwrap();
        let (build, epoch) = (tenant.build, Tenant::EPOCH);
        let staged = async move |conn: &mut Conn| gradient_storage::paths::list_staged(conn, build, epoch).await;
        let [staged] = world.storage.read(staged).await.unwrap().try_into().unwrap();
        staged.nar_hash
    };
    let mut hours = 0;
    let mut last = None;
    for tenant in tenants.values() {
        // Condemned by the first pass, due for the second.
        hours += 100;
        engine.reap(later(Moment::now(), hours)).await.unwrap();
        hours += 100;
        let (reaped, hash) = tokio::join!(engine.reap(later(Moment::now(), hours)), upload(tenant));
        reaped.unwrap();
        assert!(nar_is_there(&world, hash).await, "it was uploaded, and is gone");
        last = Some(hash);
        engine.delete_organization(tenant.organization).await.unwrap();
    }
    for _ in 0..3 {
        hours += 100;
        engine.reap(later(Moment::now(), hours)).await.unwrap();
    }
    assert!(!nar_is_there(&world, last.unwrap()).await);
}
