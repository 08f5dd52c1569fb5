use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, mem};

use serde_json::{Value, json};

use super::{Api, DeploymentError, Evaluation, NixInstall, Server, ServerSettings, Worker, WorkerSettings, answer, wait};

/// A worker first asks its Nix to build something trivial.
const CONNECT_LIMIT: Duration = Duration::from_mins(1);

/// How long server and worker may take to end when nothing runs.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The two programs, as cargo built them.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `gradient-server`.
    pub server: PathBuf,
    /// `gradient-worker`.
    pub worker: PathBuf,
}

/// A server with a user, an organization and a cache of it, a worker and projects: all made through the REST API, as a person
/// would.
#[derive(Debug)]
pub struct Installation {
    programs: Programs,
    folder: PathBuf,
    password: String,
    // Before the server, so that it ends first.
    worker: Option<Worker>,
    worker_id: String,
    peers: Vec<(String, String)>,
    server: Server,
    api: Api,
}

impl Installation {
    /// The user's name.
    pub const USER: &str = "demo";
    /// The name of the organization.
    pub const ORGANIZATION: &str = "acme";
    /// The name of its cache.
    pub const CACHE: &str = "acme-cache";

    /// Starts a server below `folder`, on this database or else on SQLite, without rate limits.
    pub fn start(programs: &Programs, folder: &Path, database_url: Option<&str>) -> Result<Self, DeploymentError> {
        Self::start_with(programs, folder, database_url, Vec::new())
    }

    /// Starts one with further settings.
    pub fn start_with(
        programs: &Programs,
        folder: &Path,
        database_url: Option<&str>,
        environment: Vec<(&'static str, String)>,
    ) -> Result<Self, DeploymentError> {
        let database_url = database_url.map(str::to_owned);
        Self::start_server(programs, folder, &ServerSettings { database_url, environment, ..settings(programs, folder) })
    }

    /// Starts one with the rate limits that a server has by default.
    pub fn start_limited(programs: &Programs, folder: &Path, database_url: Option<&str>) -> Result<Self, DeploymentError> {
        let database_url = database_url.map(str::to_owned);
        Self::start_server(programs, folder, &ServerSettings { database_url, rate_limits: true, ..settings(programs, folder) })
    }

    /// Starts a server below `folder` that hosts a worker with this Nix in its own process.
    pub fn start_with_hosted_worker(programs: &Programs, folder: &Path, nix: &NixInstall) -> Result<Self, DeploymentError> {
        let hosted_worker = Some(nix.clone());
        Self::start_server(programs, folder, &ServerSettings { hosted_worker, ..settings(programs, folder) })
    }

    fn start_server(programs: &Programs, folder: &Path, settings: &ServerSettings) -> Result<Self, DeploymentError> {
        let server = Server::start(settings)?;
        Ok(Self {
            programs: programs.clone(),
            folder: folder.to_path_buf(),
            password: new_password(),
            worker: None,
            worker_id: uuid::Uuid::new_v4().to_string(),
            peers: Vec::new(),
            api: server.api(),
            server,
        })
    }

    /// Registers the user and signs in.
    pub fn register_user(&mut self) -> Result<(), DeploymentError> {
        let (name, password) = (Self::USER, &self.password);
        let email = format!("{name}@example.org");
        let user = json!({"username": name, "name": "Demo", "email": email, "password": password});
        self.api.post("/auth/basic/register", &user)?;
        let token = self.api.post("/auth/basic/login", &json!({"loginname": name, "password": password}))?;
        self.api = self.api.clone().with_token(answer::text(&token)?);
        Ok(())
    }

    /// Creates the organization, and a cache that it publishes to.
    pub fn create_organization(&self, cache: CacheVisibility) -> Result<(), DeploymentError> {
        self.create_other_organization(Self::ORGANIZATION, Self::CACHE, cache)
    }

    /// Creates an organization of another name, with a cache of its own.
    pub fn create_other_organization(
        &self,
        organization: &str,
        name: &str,
        cache: CacheVisibility,
    ) -> Result<(), DeploymentError> {
        self.api.put("/orgs", &json!({"name": organization, "display_name": organization}))?;
        let public = cache == CacheVisibility::Public;
        self.api.put("/caches", &json!({"name": name, "display_name": organization, "public": public}))?;
        self.api.post(&format!("/orgs/{organization}/subscribe/{name}"), &json!({}))?;
        Ok(())
    }

    /// Registers the worker for the organization and returns its id.
    pub fn register_worker(&mut self) -> Result<&str, DeploymentError> {
        self.register_worker_for(Self::ORGANIZATION)
    }

    /// Registers the worker for another organization as well.
    pub fn register_worker_for(&mut self, organization: &str) -> Result<&str, DeploymentError> {
        let registration = json!({"worker_id": self.worker_id, "display_name": "build-01"});
        let registered = self.api.post(&format!("/orgs/{organization}/workers"), &registration)?;
        let (peer, token) = (answer::field(&registered, "peer_id")?, answer::field(&registered, "token")?);
        self.peers.push((peer.to_owned(), token.to_owned()));
        Ok(&self.worker_id)
    }

    /// The token of the registered worker.
    pub fn worker_token(&self) -> Option<&str> {
        self.peers.first().map(|(_, token)| token.as_str())
    }

    /// Registers the worker in the server's process, with the id and the token that it made, and waits until it is connected.
    pub fn register_hosted_worker(&self) -> Result<Value, DeploymentError> {
        let base = self.folder.join("server/state/worker");
        let read = |name: &str| {
            let path = base.join(name);
            wait::until(&format!("{}", path.display()), CONNECT_LIMIT, || {
                Ok::<_, DeploymentError>(fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n')))
            })
        };
        let (id, peers) = (read("worker-id")?, read("peers")?);
        let token = peers.trim().trim_start_matches("*:");
        let registration = json!({"worker_id": id.trim(), "token": token, "display_name": "hosted"});
        self.api.post(&format!("/orgs/{}/workers", Self::ORGANIZATION), &registration)?;
        wait::until("the hosted worker to connect", CONNECT_LIMIT, || self.live_worker())
    }

    /// Creates a project.
    pub fn create_project(&self, name: &str, repository: &str, wildcard: &str) -> Result<(), DeploymentError> {
        let project = json!({"name": name, "display_name": "Examples", "repository": repository, "wildcard": wildcard});
        self.api.put(&format!("/projects/{}", Self::ORGANIZATION), &project).map(drop)
    }

    /// Starts the worker with this Nix and returns what the server says of it once it is connected.
    pub fn start_worker(&mut self, nix: &NixInstall) -> Result<Value, DeploymentError> {
        self.start_worker_with(nix, Vec::new())
    }

    /// The same with further settings.
    pub fn start_worker_with(
        &mut self,
        nix: &NixInstall,
        environment: Vec<(&'static str, String)>,
    ) -> Result<Value, DeploymentError> {
        let worker = Worker::start(&WorkerSettings {
            program: self.programs.worker.clone(),
            folder: self.folder.join("worker"),
            server_url: self.server.worker_url(),
            worker_id: self.worker_id.clone(),
            peers: self.peers.clone(),
            slots: 2,
            nix: nix.clone(),
            authority: self.server.settings().certificate().map(Path::to_path_buf),
            environment,
        })?;
        self.worker = Some(worker);
        wait::until("the worker to connect", CONNECT_LIMIT, || {
            self.expect_running()?;
            self.live_worker()
        })
    }

    /// What the server says of the connected worker; `None` while it is not connected.
    pub fn live_worker(&self) -> Result<Option<Value>, DeploymentError> {
        let workers = self.api.get(&format!("/orgs/{}/workers", Self::ORGANIZATION))?;
        Ok(workers.pointer("/0/live").filter(|live| !live.is_null()).cloned())
    }

    /// Triggers an evaluation of a project's head.
    pub fn evaluate(&self, project: &str) -> Result<Evaluation, DeploymentError> {
        self.evaluate_in(Self::ORGANIZATION, project)
    }

    /// The same in another organization.
    pub fn evaluate_in(&self, organization: &str, project: &str) -> Result<Evaluation, DeploymentError> {
        let id = self.api.post(&format!("/projects/{organization}/{project}/evaluate"), &json!({}))?;
        Ok(Evaluation::new(&self.api, organization, project, answer::text(&id)?))
    }

    /// The public key of the cache, as Nix wants it.
    pub fn cache_key(&self) -> Result<String, DeploymentError> {
        let key = self.api.get(&format!("/caches/{}/key", Self::CACHE))?;
        Ok(answer::text(&key)?.to_owned())
    }

    /// The URL of the cache, as Nix wants it.
    pub fn cache_url(&self) -> String {
        self.server.cache_url(Self::CACHE)
    }

    /// The REST API with the user's session.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The server.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Puts another server on the same database in the place of the present one, which it returns. The session goes on.
    pub fn put_server(&mut self, server: Server) -> Server {
        let api = server.api();
        self.api = match self.api.token() {
            Some(token) => api.with_token(token),
            None => api,
        };
        mem::replace(&mut self.server, server)
    }

    /// The worker, once it is started.
    pub fn worker(&mut self) -> Option<&mut Worker> {
        self.worker.as_mut()
    }

    /// Forgets a worker that has ended, and hands it to whom wants to know what is left of it.
    pub fn forget_worker(&mut self) -> Option<Worker> {
        self.worker.take()
    }

    /// Ends the server in good order and starts it again, at the same place.
    pub fn restart_server(&mut self) -> Result<(), DeploymentError> {
        self.server.process().stop(STOP_LIMIT)?;
        self.server.start_again()
    }

    /// The user's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// An error with the end of its log when one of the processes is gone.
    pub fn expect_running(&mut self) -> Result<(), DeploymentError> {
        self.server.process().expect_running()?;
        self.worker.as_mut().map_or(Ok(()), |worker| worker.process().expect_running())
    }

    /// The ends of both logs.
    pub fn log_tails(&mut self) -> String {
        let server = self.server.process().log_tail();
        let worker = self.worker.as_mut().map(|worker| worker.process().log_tail()).unwrap_or_default();
        format!("── the end of gradient-server's log\n{server}\n── the end of gradient-worker's log\n{worker}")
    }

    /// Asks both to end, the worker first.
    pub fn stop(mut self) -> Result<(), DeploymentError> {
        if let Some(worker) = &mut self.worker {
            worker.process().stop(STOP_LIMIT)?;
        }
        self.server.process().stop(STOP_LIMIT).map(drop)
    }

    /// Lets both run on and returns their process ids.
    pub fn leave_running(self) -> Vec<u32> {
        let worker = self.worker.map(Worker::leave_running);
        worker.into_iter().chain([self.server.leave_running()]).collect()
    }
}

/// A server on SQLite, without a worker and without rate limits.
fn settings(programs: &Programs, folder: &Path) -> ServerSettings {
    ServerSettings {
        program: programs.server.clone(),
        folder: folder.join("server"),
        database_url: None,
        hosted_worker: None,
        rate_limits: false,
        environment: Vec::new(),
    }
}

/// Who may read a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheVisibility {
    /// Everybody.
    Public,
    /// Its members, and those of organizations that subscribed to it.
    Private,
}

/// A password with all the kinds of characters that the server wants to see, and no runs of them.
fn new_password() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("Zq7!{}", random.chars().flat_map(|character| [character, '-']).collect::<String>())
}
