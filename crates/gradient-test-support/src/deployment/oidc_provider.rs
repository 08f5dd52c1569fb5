use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{DeploymentError, Process};

/// Starting Node.js takes a second; this is for slow machines.
const LIMIT: Duration = Duration::from_mins(1);

/// What an OpenID provider is started with.
#[derive(Debug, Clone)]
pub struct OidcProviderSettings {
    /// Its log lies in this folder.
    pub folder: PathBuf,
    /// The claims of each account, by its subject.
    pub accounts: Value,
    /// Whether it publishes other keys than those it signs with.
    pub foreign_keys: bool,
}

/// A real OpenID provider, which knows one client.
#[derive(Debug)]
pub struct OidcProvider {
    program: PathBuf,
    process: Process,
    issuer: String,
}

impl OidcProvider {
    /// The id of the client that it knows.
    pub const CLIENT_ID: &str = "gradient";
    /// The secret of that client.
    pub const CLIENT_SECRET: &str = "a secret of tests: + & %";

    /// Starts one; `None`, with a line that says so, where the program is not installed.
    pub fn start(settings: &OidcProviderSettings) -> Result<Option<Self>, DeploymentError> {
        let Some(program) = crate::package("GRADIENT_TEST_OIDC_PROVIDER") else { return Ok(None) };
        let (process, issuer) = spawn(&program, settings, None)?;
        Ok(Some(Self { program, process, issuer }))
    }

    /// Ends it and starts it again at the same place, with new keys and perhaps other settings.
    pub fn restart(&mut self, settings: &OidcProviderSettings) -> Result<(), DeploymentError> {
        self.process.kill();
        let port = self.issuer.rsplit(':').next().and_then(|port| port.parse().ok());
        (self.process, _) = spawn(&self.program, settings, port)?;
        Ok(())
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Its issuer, such as `http://127.0.0.1:4711`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

fn spawn(program: &Path, settings: &OidcProviderSettings, port: Option<u16>) -> Result<(Process, String), DeploymentError> {
    let given = json!({
        "port": port,
        "client_id": OidcProvider::CLIENT_ID,
        "client_secret": OidcProvider::CLIENT_SECRET,
        "redirect_path": "/api/v1/auth/oidc/callback",
        "accounts": settings.accounts,
        "foreign_keys": settings.foreign_keys,
    });
    let mut command = Command::new("node");
    command.arg("start.mjs").current_dir(program).env("SETTINGS", given.to_string());
    let log = settings.folder.join(format!("oidc-provider-{}.log", uuid::Uuid::new_v4()));
    let mut process = Process::spawn("the OpenID provider", &mut command, &log)?;
    let issuer = process.wait_for_line("listening: ", LIMIT)?;
    Ok((process, issuer))
}
