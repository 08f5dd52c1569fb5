//! `--with-worker`: a worker in the server's own process, so that one process is a whole CI.
//!
//! It is a worker like any other: it connects to the socket and has to be registered by the organization that it is to serve. Its
//! token is made here, so that registering is all there is left to do.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use gradient_auth::WorkerToken;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use gradient_worker::WrongSetting;

/// Starts the worker of the server at this URL; it ends, once its jobs have, when `stop` is cancelled.
pub(crate) fn start(base: &Path, server: &str, stop: CancellationToken) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let mut arguments = gradient_worker::Arguments::from_environment()
        .map_err(|sentence| WrongSetting::new("--with-worker", &format!("needs the worker's settings: {sentence}")))?;
    let base = arguments.base_dir.get_or_insert_with(|| base.join("worker")).clone();
    fs::create_dir_all(&base).with_context(|| format!("cannot make {}", base.display()))?;
    let peers = arguments.peers_file.get_or_insert_with(|| base.join("peers")).clone();
    if make_token(&peers)? {
        tracing::info!(
            worker_id = %base.join("worker-id").display(), token = %peers.display(),
            "the worker in this process has a new token; register its id and the token behind the `*:` for your organization"
        );
    }
    arguments.server_url.get_or_insert_with(|| format!("{}/proto", server.replacen("http", "ws", 1)));
    Ok(tokio::spawn(gradient_worker::work(arguments, stop)))
}

/// Waits until the worker has ended with an error, which a server that was asked to have one does not hide by going on. For ever when
/// there is none.
pub(crate) async fn failure(worker: &mut Option<JoinHandle<anyhow::Result<()>>>) -> anyhow::Error {
    let ended = match worker {
        Some(running) => running.await,
        None => std::future::pending().await,
    };
    *worker = None;
    match ended {
        Ok(Ok(())) => std::future::pending().await,
        Ok(Err(error)) => error.context("the worker in this process cannot work"),
        Err(panicked) => panicked.into(),
    }
}

/// Makes a peers file with one token for whichever organization registers it. False when there is one.
fn make_token(path: &Path) -> anyhow::Result<bool> {
    let failed = || format!("cannot make the peers file {}", path.display());
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error).with_context(failed),
    };
    let token = WorkerToken::generate(&mut rand::rng());
    file.write_all(format!("*:{}\n", token.expose()).as_bytes()).with_context(failed)?;
    file.sync_all().with_context(failed)?;
    Ok(true)
}

/// Where this process reaches itself: a wildcard address is no address to connect to.
pub(crate) fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_nobody_else_to_read() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("peers");
        assert!(make_token(&path).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.trim().strip_prefix("*:").is_some_and(|token| WorkerToken::parse(token).is_ok()), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!make_token(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_wildcard_address_is_reached_at_loopback() {
        assert_eq!(reachable("0.0.0.0:3000".parse().unwrap()), "127.0.0.1:3000".parse().unwrap());
        assert_eq!(reachable("[::]:3000".parse().unwrap()), "[::1]:3000".parse().unwrap());
        assert_eq!(reachable("192.0.2.1:80".parse().unwrap()), "192.0.2.1:80".parse().unwrap());
    }
}
