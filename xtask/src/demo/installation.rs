//! The server and the worker of the demonstration, and what a person sets up on them through the REST API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use gradient_test_support::deployment::{Api, NixInstall, Server, ServerSettings, Worker, WorkerSettings, wait};
use serde_json::{Value, json};

use crate::interrupt;
use crate::workspace::Programs;

const USER: &str = "demo";
pub(super) const ORGANIZATION: &str = "acme";
pub(super) const PROJECT: &str = "examples";
pub(super) const CACHE: &str = "acme";

/// The worker first asks its Nix to build something trivial.
const CONNECT_LIMIT: Duration = Duration::from_mins(1);

/// Running builds would be drained; none are left at the end.
const STOP_LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Installation {
    folder: PathBuf,
    worker_program: PathBuf,
    password: String,
    // Before the server, so that it ends first.
    worker: Option<Worker>,
    worker_id: String,
    peers: Vec<(String, String)>,
    server: Server,
    api: Api,
}

impl Installation {
    /// Starts the server with nothing configured but where it lives.
    pub(super) fn start(programs: &Programs, folder: &Path, postgres: Option<&str>) -> Result<Self> {
        let server = Server::start(&ServerSettings {
            program: programs.server.clone(),
            folder: folder.join("server"),
            database_url: postgres.map(str::to_owned),
        })?;
        println!("  listening at {} on {}", server.url(), if postgres.is_some() { "PostgreSQL" } else { "embedded SQLite" });
        Ok(Self {
            folder: folder.to_path_buf(),
            worker_program: programs.worker.clone(),
            password: new_password(),
            worker: None,
            worker_id: uuid::Uuid::new_v4().to_string(),
            peers: Vec::new(),
            api: server.api(),
            server,
        })
    }

    /// Registers a user and creates everything that an evaluation needs.
    pub(super) fn set_up(&mut self, repository: &str, wildcard: &str) -> Result<()> {
        let password = self.password.clone();
        let email = format!("{USER}@example.org");
        self.post("/auth/basic/register", &json!({"username": USER, "name": "Demo", "email": email, "password": password}))?;
        let token = self.post("/auth/basic/login", &json!({"loginname": USER, "password": password}))?;
        self.api = self.api.clone().with_token(text(&token)?);
        println!("  user {USER}");

        self.put("/orgs", &json!({"name": ORGANIZATION, "display_name": "Acme"}))?;
        println!("  organization {ORGANIZATION}");
        self.put("/caches", &json!({"name": CACHE, "display_name": "Acme", "public": true}))?;
        self.post(&format!("/orgs/{ORGANIZATION}/subscribe/{CACHE}"), &json!({}))?;
        println!("  cache {CACHE}, which the organization publishes to");

        let registration = json!({"worker_id": self.worker_id, "display_name": "build-01"});
        let registered = self.post(&format!("/orgs/{ORGANIZATION}/workers"), &registration)?;
        self.peers = vec![(field(&registered, "peer_id")?.to_owned(), field(&registered, "token")?.to_owned())];
        println!("  worker {}", self.worker_id);

        let project = json!({"name": PROJECT, "display_name": "Examples", "repository": repository, "wildcard": wildcard});
        self.put(&format!("/projects/{ORGANIZATION}"), &project)?;
        println!("  project {PROJECT}: {wildcard}");
        Ok(())
    }

    /// Starts the worker and waits until the server knows it.
    pub(super) fn start_worker(&mut self, nix: &NixInstall) -> Result<()> {
        let mut worker = Worker::start(&WorkerSettings {
            program: self.worker_program.clone(),
            folder: self.folder.join("worker"),
            server_url: self.server.worker_url(),
            worker_id: self.worker_id.clone(),
            peers: self.peers.clone(),
            slots: 2,
            nix: nix.clone(),
        })?;
        let api = &self.api;
        let live = wait::until("the worker to connect", CONNECT_LIMIT, || {
            interrupt::check()?;
            worker.process().expect_running()?;
            let workers = api.get(&format!("/orgs/{ORGANIZATION}/workers"))?;
            anyhow::Ok(workers.pointer("/0/live").filter(|live| !live.is_null()).cloned())
        });
        self.worker = Some(worker);
        println!("  connected: {}", live?);
        Ok(())
    }

    /// The REST API with the user's session.
    pub(super) fn api(&self) -> &Api {
        &self.api
    }

    pub(super) fn server_url(&self) -> &str {
        self.server.url()
    }

    pub(super) fn cache_url(&self) -> String {
        self.server.cache_url(CACHE)
    }

    pub(super) fn credentials(&self) -> String {
        format!("{USER} with the password {}", self.password)
    }

    /// An error when one of the processes is gone.
    pub(super) fn expect_running(&mut self) -> Result<()> {
        self.server.process().expect_running()?;
        if let Some(worker) = &mut self.worker {
            worker.process().expect_running()?;
        }
        Ok(())
    }

    /// Prints the end of what both have logged.
    pub(super) fn print_logs(&mut self) {
        println!("\n── the end of gradient-server's log\n{}", self.server.process().log_tail());
        if let Some(worker) = &mut self.worker {
            println!("── the end of gradient-worker's log\n{}", worker.process().log_tail());
        }
    }

    /// Asks both to end, the worker first.
    pub(super) fn stop(mut self) -> Result<()> {
        if let Some(worker) = &mut self.worker {
            worker.process().stop(STOP_LIMIT)?;
        }
        self.server.process().stop(STOP_LIMIT)?;
        Ok(())
    }

    /// Lets both run on and returns their process ids.
    pub(super) fn leave_running(self) -> String {
        let worker = self.worker.map(|worker| format!("{} ", worker.leave_running())).unwrap_or_default();
        format!("{worker}{}", self.server.leave_running())
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(self.api.post(path, body)?)
    }

    fn put(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(self.api.put(path, body)?)
    }
}

/// A password with all the kinds of characters that the server wants to see, and no runs of them.
fn new_password() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("Zq7!{}", random.chars().flat_map(|character| [character, '-']).collect::<String>())
}

/// A text in an answer of the API.
pub(super) fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("expected a text, got {value}"))
}

/// A text in a field of an answer.
pub(super) fn field<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value.get(name).and_then(Value::as_str).with_context(|| format!("no text in the field {name} of {value}"))
}
