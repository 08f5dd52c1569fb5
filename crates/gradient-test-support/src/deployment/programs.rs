use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::nix::write_worker_conf;
use super::{Api, Authority, DeploymentError, NixInstall, Process, wait};

/// Making a database and the secrets takes a second or two; this is for slow machines.
const START_LIMIT: Duration = Duration::from_mins(1);

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The program `gradient-server`.
    pub program: PathBuf,
    /// Everything of it lies below this folder.
    pub folder: PathBuf,
    /// The database; SQLite in its folder when there is none.
    pub database_url: Option<String>,
    /// The Nix of the worker that the server hosts in its own process, if it does.
    pub hosted_worker: Option<NixInstall>,
    /// Whether it limits how often a client may ask, as it does by default. Tests ask as fast as they can.
    pub rate_limits: bool,
    /// Further settings, as variables.
    pub environment: Vec<(&'static str, String)>,
}

impl ServerSettings {
    /// The file of the certificate that it shows, if it speaks TLS. Its last one vouches for the first, which is for `localhost`.
    pub fn certificate(&self) -> Option<&Path> {
        let setting = self.environment.iter().find(|(name, _)| *name == "GRADIENT_TLS_CERTIFICATE_FILE");
        setting.map(|(_, file)| Path::new(file))
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    settings: ServerSettings,
    process: Process,
    port: u16,
    url: String,
    authority: Option<Authority>,
}

impl Server {
    /// Starts it on a free port and waits until it is healthy.
    pub fn start(settings: &ServerSettings) -> Result<Self, DeploymentError> {
        let port = free_port()?;
        let url = match settings.certificate() {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let process = Self::spawn(settings, port)?;
        let authority = settings.certificate().map(Authority::read).transpose()?;
        let mut server = Self { settings: settings.clone(), process, port, url, authority };
        server.wait_until_healthy()?;
        Ok(server)
    }

    /// Starts it again after it has ended, on the same port.
    pub fn start_again(&mut self) -> Result<(), DeploymentError> {
        self.process = Self::spawn(&self.settings, self.port)?;
        self.wait_until_healthy()
    }

    fn spawn(settings: &ServerSettings, port: u16) -> Result<Process, DeploymentError> {
        let mut command = Self::command(settings)?;
        command.env("GRADIENT_PORT", port.to_string());
        Process::spawn("gradient-server", &mut command, &settings.folder.join("server.log"))
    }

    fn wait_until_healthy(&mut self) -> Result<(), DeploymentError> {
        let api = self.api();
        wait::until("gradient-server to answer", START_LIMIT, || {
            self.process.expect_running()?;
            Ok(api.get("/health").ok().map(drop))
        })
    }

    /// The command that starts it, without a port.
    pub fn command(settings: &ServerSettings) -> Result<Command, DeploymentError> {
        let mut command = program(&settings.program, &settings.folder)?;
        if let Some(nix) = &settings.hosted_worker {
            let home = settings.folder.join("home");
            write_worker_conf(&home)?;
            nix.isolate(&mut command, &home);
            command.arg("--with-worker");
        }
        command.env("GRADIENT_BASE_DIR", settings.folder.join("state")).env("GRADIENT_ALLOW_LOCAL_REPOSITORIES", "true");
        if !settings.rate_limits {
            for tier in ["AUTH", "CACHE", "INSPECT", "LOG", "DEFAULT"] {
                command.env(format!("GRADIENT_RATE_LIMIT_{tier}"), "off");
            }
        }
        if let Some(url) = &settings.database_url {
            command.env("GRADIENT_DATABASE_URL", url);
        }
        command.envs(settings.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Where it listens, such as `http://127.0.0.1:3000`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of one of its binary caches.
    pub fn cache_url(&self, cache: &str) -> String {
        format!("{}/cache/{cache}", self.url)
    }

    /// Where workers connect.
    pub fn worker_url(&self) -> String {
        format!("{}/proto", self.url.replacen("http", "ws", 1))
    }

    /// What it was started with.
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// A client of its REST API without credentials.
    pub fn api(&self) -> Api {
        let api = Api::new(&self.url);
        match &self.authority {
            Some(authority) => api.trusting(authority),
            None => api,
        }
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Lets it run on.
    pub fn leave_running(self) -> u32 {
        self.process.leave_running()
    }
}

/// What a worker is started with.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The program `gradient-worker`.
    pub program: PathBuf,
    /// Everything of it lies below this folder.
    pub folder: PathBuf,
    /// The server's socket, `ws://…/proto`.
    pub server_url: String,
    /// Its UUID.
    pub worker_id: String,
    /// Who it works for: pairs of peer id and token.
    pub peers: Vec<(String, String)>,
    /// How many builds at a time.
    pub slots: u32,
    /// The Nix that it uses.
    pub nix: NixInstall,
    /// The certificates that it trusts, when they are not the system's.
    pub authority: Option<PathBuf>,
    /// Further settings, as variables.
    pub environment: Vec<(&'static str, String)>,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    process: Process,
}

impl Worker {
    /// Starts it; it connects in its own time.
    pub fn start(settings: &WorkerSettings) -> Result<Self, DeploymentError> {
        let mut command = program(&settings.program, &settings.folder)?;
        let home = settings.folder.join("home");
        write_worker_conf(&home)?;
        let mut peers = String::new();
        for (peer, token) in &settings.peers {
            let _ = writeln!(peers, "{peer}:{token}");
        }
        let peers_file = settings.folder.join("peers");
        fs::write(&peers_file, peers).map_err(DeploymentError::io("writing the peers file"))?;
        settings.nix.isolate(&mut command, &home);
        if let Some(authority) = &settings.authority {
            command.env("SSL_CERT_FILE", authority);
        }
        command
            .env("GRADIENT_WORKER_SERVER_URL", &settings.server_url)
            .env("GRADIENT_WORKER_ID", &settings.worker_id)
            .env("GRADIENT_WORKER_BASE_DIR", settings.folder.join("state"))
            .env("GRADIENT_WORKER_PEERS_FILE", peers_file)
            .env("GRADIENT_WORKER_MAX_CONCURRENT_BUILDS", settings.slots.to_string())
            .envs(settings.environment.iter().map(|(name, value)| (name, value)));
        Ok(Self { process: Process::spawn("gradient-worker", &mut command, &settings.folder.join("worker.log"))? })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Lets it run on.
    pub fn leave_running(self) -> u32 {
        self.process.leave_running()
    }
}

/// A program with a folder of its own and nothing of this process's environment but the path.
fn program(program: &Path, folder: &Path) -> Result<Command, DeploymentError> {
    if !program.is_file() {
        return Err(DeploymentError::NotBuilt(program.to_path_buf()));
    }
    fs::create_dir_all(folder).map_err(DeploymentError::io(format!("making {}", folder.display())))?;
    let mut command = Command::new(program);
    command.env_clear().env("HOME", folder).current_dir(folder);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    Ok(command)
}

fn free_port() -> Result<u16, DeploymentError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(listener.map_err(DeploymentError::io("looking for a free port"))?.port())
}
