use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{DeploymentError, Process, wait};

/// Starting Python and taking a mail take less than a second; this is for slow machines.
const LIMIT: Duration = Duration::from_mins(1);

/// The program.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/smtp-server/serve.py");

/// What a mail server is started with.
#[derive(Debug, Clone, Default)]
pub struct MailServerSettings {
    /// How connections to it are protected.
    pub tls: MailServerTls,
    /// The name and the password that it wants to see.
    pub login: Option<(String, String)>,
    /// How many mails it puts off before it takes one.
    pub refusals: u32,
}

/// How connections to a mail server are protected, with the files of certificate and key.
#[derive(Debug, Clone, Default)]
pub enum MailServerTls {
    /// Not at all.
    #[default]
    None,
    /// By STARTTLS, without which it takes nothing.
    Starttls(PathBuf, PathBuf),
    /// From the first byte.
    Implicit(PathBuf, PathBuf),
}

/// A real mail server, whose mails are files.
#[derive(Debug)]
pub struct MailServer {
    process: Process,
    folder: PathBuf,
    port: u16,
}

/// A mail that it took.
#[derive(Debug, Clone)]
pub struct Mail(Value);

impl MailServer {
    /// Starts one with its files below `folder`; `None`, with a line that says so, where the program is not installed.
    pub fn start(folder: &Path, settings: &MailServerSettings) -> Result<Option<Self>, DeploymentError> {
        let Some(python) = crate::package("GRADIENT_TEST_PYTHON") else { return Ok(None) };
        let mails = folder.join("mails");
        fs::create_dir_all(&mails).map_err(DeploymentError::io(format!("making {}", mails.display())))?;
        let mut given = json!({"folder": mails, "refusals": settings.refusals});
        if let MailServerTls::Starttls(certificate, key) | MailServerTls::Implicit(certificate, key) = &settings.tls {
            given["certificate"] = json!(certificate);
            given["key"] = json!(key);
            given["implicit_tls"] = json!(matches!(settings.tls, MailServerTls::Implicit(..)));
        }
        if let Some((username, password)) = &settings.login {
            given["username"] = json!(username);
            given["password"] = json!(password);
        }
        let mut command = Command::new(python);
        command.arg(PROGRAM).env("SETTINGS", given.to_string());
        let mut process = Process::spawn("the mail server", &mut command, &folder.join("mail-server.log"))?;
        let port = process.wait_for_line("listening: ", LIMIT)?;
        let port = port.parse().map_err(|_| DeploymentError::TimedOut { what: format!("a port, not {port}"), limit: LIMIT })?;
        Ok(Some(Self { process, folder: mails, port }))
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The mails that it took, the oldest first, once there are so many.
    pub fn wait_for(&mut self, count: usize) -> Result<Vec<Mail>, DeploymentError> {
        wait::until(&format!("{count} mails"), LIMIT, || {
            self.process.expect_running()?;
            let mails: Vec<Mail> = (1..=count).map_while(|number| self.read(number)).collect();
            Ok((mails.len() == count).then_some(mails))
        })
    }

    /// Whether it took more than so many.
    pub fn has_more_than(&self, count: usize) -> bool {
        self.read(count + 1).is_some()
    }

    fn read(&self, number: usize) -> Option<Mail> {
        let text = fs::read_to_string(self.folder.join(format!("{number}.json"))).ok()?;
        serde_json::from_str(&text).ok().map(Mail)
    }
}

impl Mail {
    /// Sender, receivers, whether it came by TLS, and by somebody who had signed in.
    pub fn envelope(&self) -> &Value {
        &self.0
    }

    /// Headers and text, as they were sent.
    pub fn text(&self) -> &str {
        self.0["data"].as_str().unwrap_or_default()
    }

    /// The link in it.
    pub fn link(&self) -> Option<&str> {
        self.text().split_whitespace().find(|word| word.starts_with("http") && word.contains("token="))
    }

    /// The token in its link.
    pub fn token(&self) -> Option<&str> {
        self.link()?.split_once("token=").map(|(_, token)| token)
    }
}
