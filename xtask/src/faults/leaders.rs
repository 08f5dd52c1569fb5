//! Two servers on one database: the one that leads is gone, or stands still and comes back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::{Installation, Server, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::plan::Strike;
use super::proxy::Way;
use super::site::{Site, signal};

/// How long nobody may lead after the leader's end.
const TAKEOVER: Duration = Duration::from_secs(5);

/// How long nobody may lead when the leader stands still: the database waits ten seconds for a word of it.
const TAKEOVER_FROM_SILENCE: Duration = Duration::from_secs(20);

/// How long one that does not lead any more may take to notice.
const NOTICE: Duration = Duration::from_secs(30);

/// Starts a second server with the files and the secrets of the first.
pub(super) fn standby(installation: &mut Installation, folder: &Path) -> Result<Server> {
    let mut settings = installation.server().settings().clone();
    let base = settings.folder.join("state").display().to_string();
    settings.folder = folder.join("standby");
    settings.environment.push(("GRADIENT_BASE_DIR", base));
    let server = Server::start(&settings)?;
    match server.api().get("/health")?.as_str() {
        Some("200 STANDBY") => Ok(server),
        other => bail!("the second server is {other:?} instead of a standby"),
    }
}

/// Kills the leader and waits until the other one leads; the killed one comes back as a standby. When it was killed.
pub(super) fn kill(site: &mut Site) -> Result<Instant> {
    let over = Instant::now();
    site.installation.server().process().kill();
    follow(site, TAKEOVER)?;
    site.standby()?.start_again()?;
    Ok(over)
}

/// Lets the leader stand still until the other one leads, and for a while longer. Then it goes on with what it was at, and with a
/// request that came meanwhile: it has to end, and nothing of that may be written. Until then the worker's connection hangs at it, or
/// is moved, as a balancer does. When it went on.
pub(super) fn stop(site: &mut Site, strike: &Strike) -> Result<Instant> {
    let old = site.installation.server().process().id();
    signal(old, Signal::STOP)?;
    follow(site, TAKEOVER_FROM_SILENCE)?;
    if strike.way == Way::ToServer {
        site.proxy.close_all();
    }
    sleep(strike.lasts);
    let name = format!("late-{}", uuid::Uuid::new_v4().simple());
    let token = site.installation.api().token().context("nobody is signed in")?.to_owned();
    let mut request = request_to_create(&name, &token, site.standby()?)?;
    let over = Instant::now();
    signal(old, Signal::CONT)?;
    let ended = site.standby()?.process().wait(NOTICE)?;
    if ended.code() != Some(1) {
        bail!("the server that does not lead any more ended with {ended}");
    }
    let mut answer = String::new();
    // It may end without one.
    let _ = request.read_to_string(&mut answer);
    let organizations = site.installation.api().get("/orgs")?;
    if answer.starts_with("HTTP/1.1 2") || organizations.to_string().contains(&name) {
        bail!("the server that does not lead any more wrote something: {answer:?}");
    }
    site.standby()?.start_again()?;
    Ok(over)
}

/// Waits until the standby leads, and turns everybody to it.
fn follow(site: &mut Site, limit: Duration) -> Result<()> {
    let api = site.standby()?.api();
    wait::until("the standby to take over", limit, || {
        let health = api.get("/health").ok();
        anyhow::Ok((health == Some(Value::from("200 ALIVE"))).then_some(()))
    })?;
    site.put_standby_first()
}

/// Sends a request for a new organization, whoever hears it and when.
fn request_to_create(name: &str, token: &str, server: &Server) -> Result<TcpStream> {
    let address = server.url().trim_start_matches("http://");
    let body = json!({"name": name, "display_name": "Late"}).to_string();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(NOTICE))?;
    write!(
        stream,
        "PUT /api/v1/orgs HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(stream)
}
