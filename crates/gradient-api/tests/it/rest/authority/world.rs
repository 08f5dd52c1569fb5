//! Something at every path of the table: an organization and a cache with all that there can be in them.

use gradient_domain::{CacheId, EvaluationId, Moment, OrganizationId, Priority, ProjectId, Publish};
use gradient_storage::{
    Conn, StorageError, builds,
    commits::{self, Commit},
    evaluations::{self, NewEvaluation},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::table::Row;
use crate::{
    cache_root::{
        logs,
        published::{APP, APP_DRV, publish_app, publish_hello},
    },
    rest::Client,
    server::Server,
};

const WORKER: &str = "550e8400-e29b-41d4-a716-446655440001";

/// Where each `{…}` of the table leads.
pub(super) struct World<'s> {
    server: &'s Server,
    ids: Ids,
    nar: String,
}

struct Ids {
    role: Value,
    cache_role: Value,
    upstream: Value,
    cache_key: Value,
    key: Value,
    evaluation: EvaluationId,
    build: gradient_domain::BuildId,
    commit: gradient_domain::CommitId,
}

impl<'s> World<'s> {
    /// Made by `owner`, who may do everything in it.
    pub(super) async fn new(server: &'s Server, owner: Client<'_>) -> Self {
        let organization = id::<OrganizationId>(&owner.organization("acme", false).await);
        let project = id::<ProjectId>(&owner.project("acme", "web").await);
        let cache = id::<CacheId>(&owner.cache("main", false).await);
        owner.organization("elsewhere", false).await;
        owner.cache("other", false).await;
        owner.post("/orgs/acme/subscribe/main", json!({})).await.message();
        owner.post("/orgs/acme/workers", json!({"worker_id": WORKER})).await.message();
        let role = owner.post("/orgs/acme/roles", json!({"name": "nobodys", "permissions": ["viewOrg"]})).await.message();
        let cache_role =
            owner.post("/caches/main/roles", json!({"name": "nobodys", "permissions": ["viewCache"]})).await.message();
        let upstream = owner.put("/caches/main/upstreams", json!({"cache": "other"})).await.message();
        let cache_key = owner.post("/caches/main/keys", json!({})).await.message()["id"].clone();
        owner.key(json!({"name": "a key", "permissions": ["viewOrg"]})).await;
        let key = owner.get("/user/keys").await.message()[0]["id"].clone();

        publish_hello(server, cache).await;
        let nar = publish_app(server, cache).await.upload.nar.nar_hash.to_nix32();
        let (pinned, _) = APP.split_once('-').unwrap();
        owner.post("/caches/main/pins", json!({"hash": pinned})).await.message();
        let insert = async move |conn: &mut Conn| {
            let (evaluation, commit) = evaluation(conn, organization, project).await?;
            let build = logs::build(conn, organization, b"a log\n".to_vec()).await?;
            builds::link(conn, evaluation, &[build], Moment::now()).await?;
            Ok((evaluation, commit, build))
        };
        let (evaluation, commit, build) = server.storage.transaction(insert).await.unwrap();
        Self { server, ids: Ids { role, cache_role, upstream, cache_key, key, evaluation, build, commit }, nar }
    }

    /// Calls the endpoint with an empty object as the body, or with a form that names the organization where one is read; the answer
    /// is the status.
    pub(super) async fn call(&self, row: &Row, token: Option<&str>) -> StatusCode {
        let method: Method = row.method.parse().unwrap();
        let request = self.server.http.request(method, format!("{}{}", self.server.url, self.path(row)));
        let request = if (row.method, row.full_path().as_str()) == ("POST", "/api/v1/builds") {
            let form = "--form\r\ncontent-disposition: form-data; name=\"organization\"\r\n\r\nacme\r\n--form--\r\n";
            request.header("content-type", "multipart/form-data; boundary=form").body(form)
        } else {
            request.json(&json!({}))
        };
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        request.send().await.unwrap().status()
    }

    /// The path of a row, with something that there is in every place.
    fn path(&self, row: &Row) -> String {
        let (hash, _) = APP.split_once('-').unwrap();
        let path = row.full_path();
        let id = match path.split('/').nth(3).unwrap() {
            "orgs" => text(&self.ids.role),
            "caches" if path.contains("/upstreams") => text(&self.ids.upstream),
            "caches" if path.contains("/keys") => text(&self.ids.cache_key),
            "caches" => text(&self.ids.cache_role),
            "user" => text(&self.ids.key),
            "evals" => self.ids.evaluation.to_string(),
            "builds" => self.ids.build.to_string(),
            "commits" => self.ids.commit.to_string(),
            "uploads" => WORKER.to_owned(),
            _ => String::new(),
        };
        let nar = format!("{}.nar.zst", self.nar);
        let file = if path.contains("/nar/") { nar.as_str() } else { "abcdef01.debug" };
        let places = [
            ("{org}", "acme"),
            ("{project}", "web"),
            ("{cache}", "main"),
            ("{worker}", WORKER),
            ("{id}", &id),
            ("{hash}", hash),
            ("{derivation}", APP_DRV),
            ("{output}", "out"),
            ("{realisation}", &format!("sha256:{}!out", "ab".repeat(32))),
            ("{file}", file),
            ("{path}", "app"),
            ("{filename}", "app"),
        ];
        let path = places.iter().fold(path, |path, (place, value)| path.replace(place, value));
        assert!(!path.contains('{'), "nothing is known for a part of {path}");
        path
    }
}

async fn evaluation(
    conn: &mut Conn,
    organization: OrganizationId,
    project: ProjectId,
) -> Result<(EvaluationId, gradient_domain::CommitId), StorageError> {
    let now = Moment::now();
    let commit = Commit {
        id: gradient_domain::CommitId::new(),
        organization,
        repository: "https://example.com/a.git".to_owned(),
        hash: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        message: "Begin".to_owned(),
        author_name: None,
        created_at: now,
    };
    let commit = commits::claim(conn, &commit).await?;
    let new = NewEvaluation {
        id: EvaluationId::new(),
        organization,
        project: Some(project),
        repository: commit.repository.clone(),
        wildcard: "packages.*".to_owned(),
        priority: Priority::default(),
        publish: Publish::Runtime,
        allow_ifd: true,
        triggered_by: None,
        created_at: now,
    };
    let id = new.id;
    evaluations::insert(conn, new, commit.id).await?;
    Ok((id, commit.id))
}

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    value.as_str().unwrap().parse().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
