//! A cache with many small paths.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
    time::Duration,
};

use gradient_domain::{
    BuildId, BuildTimes, CacheId, CommitId, DerivationId, EntryPointId, EvaluationId, Moment, OrganizationId, Priority, Publish,
};
use gradient_engine::Collection;
use gradient_nix::{InputDerivationHash, NarHash, StorePath, nar::Encoder};
use gradient_storage::{
    Conn, StorageError,
    builds::{self, NewBuild},
    cache_paths::{self, NewCachePath},
    commits::{self, Commit},
    derivations::{self, NewDerivation},
    evaluations::{self, NewEntryPoint, NewEvaluation},
};
use serde_json::{Value, json};

use super::super::Client;
use crate::{cache_root::published::publish, server::Server};

/// In seconds.
pub(super) const DAY: u64 = 86_400;

/// The highest number of a path.
const MOST: usize = 30;

pub(super) struct World {
    pub(super) server: Server,
    cache: CacheId,
    alice: String,
    bob: String,
    nars: Mutex<HashMap<usize, NarHash>>,
}

impl World {
    /// The public cache `main` of alice, and bob.
    pub(super) async fn new(database: &str) -> Self {
        let server = Server::start(database).await;
        let (alice, bob) = (server.signed_in("alice").await, server.signed_in("bob").await);
        let cache = server.with(&alice).cache("main", true).await.as_str().unwrap().parse().unwrap();
        Self { server, cache, alice, bob, nars: Mutex::default() }
    }

    pub(super) fn alice(&self) -> Client<'_> {
        self.server.with(&self.alice)
    }

    pub(super) fn bob(&self) -> Client<'_> {
        self.server.with(&self.bob)
    }

    pub(super) fn hash(number: usize) -> String {
        format!("{number:032}")
    }

    pub(super) fn path(number: usize) -> String {
        format!("{}-package-{number}", Self::hash(number))
    }

    /// Changes the settings of the cache, and waits until the cache has lost what they do not keep.
    pub(super) async fn set(&self, changes: Value) {
        self.alice().patch("/caches/main", changes).await.message();
        self.server.engine.reap(Moment::now()).await.unwrap();
    }

    pub(super) async fn collect(&self, body: Value) -> Value {
        self.alice().post("/caches/main/collect", body).await.message()
    }

    pub(super) async fn begin(&self) -> Collection {
        self.server.engine.begin_collection(self.cache, Moment::now()).await.unwrap()
    }

    /// Publishes paths with NARs of their own, each with its references.
    pub(super) async fn publish(&self, graph: &[(usize, &[usize])]) {
        for (number, references) in graph {
            let mut nar = Encoder::new(Vec::new()).unwrap();
            nar.regular(None, false, format!("package {number}\n").repeat(20).as_bytes()).unwrap();
            let references: Vec<String> = references.iter().map(|number| Self::path(*number)).collect();
            let references: Vec<&str> = references.iter().map(String::as_str).collect();
            let nar = nar.finish().unwrap();
            let published = publish(&self.server, self.cache, &Self::path(*number), &nar, &references).await;
            self.nars.lock().unwrap().insert(*number, published.upload.nar.nar_hash);
        }
    }

    /// Claims paths whose NARs are there already, in one transaction, as a finished build does.
    pub(super) async fn claim(&self, closure: &[(usize, &[usize])]) {
        let rows: Vec<_> = closure.iter().map(|(number, references)| self.row(*number, references)).collect();
        let (cache, now) = (self.cache, Moment::now());
        let claim = async move |conn: &mut Conn| cache_paths::publish(conn, cache, rows, now).await;
        self.server.storage.transaction(claim).await.unwrap();
    }

    fn row(&self, number: usize, references: &[usize]) -> NewCachePath {
        let path = |number: usize| Self::path(number).parse::<StorePath>().unwrap();
        let nar_hash = self.nars.lock().unwrap()[&number];
        let references = references.iter().map(|number| path(*number)).collect();
        NewCachePath {
            path: path(number),
            nar_hash,
            references,
            deriver: None,
            content_address: None,
            foreign_signatures: vec![],
        }
    }

    /// Makes it so many seconds ago that paths were last claimed and fetched. They have to be there.
    pub(super) async fn age(&self, numbers: &[usize], seconds: u64) {
        self.server.engine.write_fetches().await.unwrap();
        let hashes: Vec<_> = numbers.iter().map(|number| Self::hash(*number).parse().unwrap()).collect();
        let rows: Vec<_> = numbers.iter().map(|number| self.row(*number, &[])).collect();
        let (cache, at) = (self.cache, Moment::now().minus(Duration::from_secs(seconds)));
        let age = async move |conn: &mut Conn| {
            assert_eq!(cache_paths::publish(conn, cache, rows, at).await?.new, 0, "they are there");
            let ever = Moment::from_micros(4_000_000_000_000_000);
            cache_paths::set_fetched(conn, cache, &hashes, ever, at).await
        };
        self.server.storage.transaction(age).await.unwrap();
    }

    async fn status(&self, path: &str) -> u16 {
        let url = format!("{}/cache/main/{path}", self.server.url);
        self.server.http.get(url).send().await.unwrap().status().as_u16()
    }

    /// Asks as Nix does.
    pub(super) async fn narinfo(&self, number: usize) -> u16 {
        self.status(&format!("{}.narinfo", Self::hash(number))).await
    }

    /// The numbers of the paths that the cache has, for whoever asks as Nix does.
    pub(super) async fn there(&self) -> Vec<usize> {
        let mut there = Vec::new();
        for number in 1..=MOST {
            if self.narinfo(number).await == 200 {
                there.push(number);
            }
        }
        there
    }

    /// The same without that it counts as fetched.
    pub(super) async fn there_quietly(&self) -> Vec<usize> {
        let mut there = Vec::new();
        for number in 1..=MOST {
            if self.status(&format!("ls/{}", Self::hash(number))).await == 200 {
                there.push(number);
            }
        }
        there
    }

    /// Requires that all that the cache has can be had with all that it refers to.
    pub(super) async fn closed(&self) {
        let there = self.there_quietly().await;
        let cache = self.cache;
        for number in &there {
            let hash = Self::hash(*number).parse().unwrap();
            let find = async move |conn: &mut Conn| cache_paths::lookup_by_hash(conn, cache, hash).await;
            let found = self.server.storage.read(find).await.unwrap().unwrap();
            for reference in found.references {
                let reference: usize = reference.hash().to_string().parse().unwrap();
                assert!(there.contains(&reference), "{number} is there, {reference} is not: {there:?}");
            }
            let nar = format!("{}/cache/main/nar/{}.nar.zst", self.server.url, found.nar_hash.to_nix32());
            assert_eq!(self.server.http.head(nar).send().await.unwrap().status(), 200, "the NAR of {number}");
        }
    }

    /// An organization that publishes to the cache gets an evaluation whose entry point has this path as its output.
    pub(super) async fn evaluation_of(&self, number: usize) {
        let organization = self.alice().organization("acme", false).await.as_str().unwrap().parse().unwrap();
        self.alice().post("/orgs/acme/subscribe/main", json!({})).await.message();
        let (output, now) = (Self::path(number).parse().unwrap(), Moment::now());
        let insert = async move |conn: &mut Conn| insert_evaluation(conn, organization, output, now).await;
        self.server.storage.transaction(insert).await.unwrap();
    }
}

async fn insert_evaluation(
    conn: &mut Conn,
    organization: OrganizationId,
    output: StorePath,
    now: Moment,
) -> Result<(), StorageError> {
    let commit = Commit {
        id: CommitId::new(),
        organization,
        repository: "https://example.com/repository.git".to_owned(),
        hash: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        message: String::new(),
        author_name: None,
        created_at: now,
    };
    let commit = commits::claim(conn, &commit).await?;
    let evaluation = NewEvaluation {
        id: EvaluationId::new(),
        organization,
        project: None,
        repository: commit.repository.clone(),
        wildcard: "packages.*.#".to_owned(),
        priority: Priority::default(),
        publish: Publish::Runtime,
        allow_ifd: false,
        triggered_by: None,
        created_at: now,
    };
    let id = evaluation.id;
    evaluations::insert(conn, evaluation, commit.id).await?;
    let derivation = NewDerivation {
        id: DerivationId::new(),
        organization,
        drv_path: format!("{}-package.drv", World::hash(99)).parse().unwrap(),
        name: "package".to_owned(),
        system: "x86_64-linux".to_owned(),
        features: vec![],
        aterm: Vec::new(),
        input_hash: InputDerivationHash::Regular([1; 32]),
        outputs: BTreeMap::from([("out".to_owned(), Some(output))]),
        inputs: vec![],
        created_at: now,
    };
    let (build, derivation_id) = (BuildId::new(), derivation.id);
    derivations::insert_many(conn, vec![derivation]).await?;
    let new = NewBuild {
        id: build,
        organization,
        derivation: derivation_id,
        generation: 1,
        beginning: builds::Beginning::Queued,
        queued_at: now,
    };
    builds::insert_many(conn, vec![new]).await?;
    builds::link(conn, id, &[build], now).await?;
    let point = NewEntryPoint {
        id: EntryPointId::new(),
        attribute: "packages.default".to_owned(),
        build: Some(build),
        error: None,
        times: BuildTimes::default(),
    };
    evaluations::insert_entry_points(conn, id, vec![point], now).await
}
