//! Wires the parts together and runs them.

use std::{
    fs,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use anyhow::Context;
use gradient_api::{ApiSettings, Certificate};
use gradient_auth::{JwtKeys, PasswordHasher, Sealer};
use gradient_blobs::{Blobs, S3Settings};
use gradient_engine::{Engine, EngineSettings, Parts};
use gradient_forge::{Forge, ForgeSettings};
use gradient_storage::{DatabaseUrl, Storage, StorageSettings};
use gradient_telemetry as telemetry;
use gradient_worker::{WrongSetting, stop_requested};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::Arguments, arguments::limit, commands, directories, file_limit, hosted_worker, leading, metrics, secrets::Secrets,
};

/// How long requests that run may take to end after the signal.
const GRACE: Duration = Duration::from_secs(30);

pub(crate) const CANNOT_OPEN: &str = "cannot open the database of GRADIENT_DATABASE_URL";

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    telemetry::init(&telemetry::Settings { format: arguments.log_format, filter: &arguments.log })
        .map_err(|error| WrongSetting::new("GRADIENT_LOG", &error.to_string()))?;
    // Only fails when a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve_or_do(arguments));
    // What still blocks a thread ends with the process.
    runtime.shutdown_timeout(GRACE);
    ended
}

async fn serve_or_do(mut arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command.take() {
        None => serve(arguments).await,
        Some(command) => commands::run(command, &arguments).await,
    }
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let base = base(&arguments)?;
    let listener = std::net::TcpListener::bind((arguments.listen_addr, arguments.port)).map_err(|error| {
        let wrong = format!("is {}, where the server cannot listen on {}: {error}", arguments.port, arguments.listen_addr);
        WrongSetting::new("GRADIENT_PORT", &wrong)
    })?;
    let address = listener.local_addr()?;
    let certificate = arguments.tls.certificate()?;
    let serve_url = serve_url(arguments.serve_url.as_deref(), certificate.is_some(), address)?;

    // A certificate is for the name in the URL.
    let worker_url =
        if certificate.is_some() { serve_url.clone() } else { format!("http://{}", hosted_worker::reachable(address)) };

    // Before anything is there to be counted.
    let metrics = arguments.metrics_token_file.as_deref().map(metrics::start).transpose()?;
    // What is wrong with any setting a standby says at once, too.
    let engine_settings = engine_settings(&arguments, serve_url.clone())?;
    let (database, bucket) = (database_url(&arguments, &base)?, arguments.s3.settings()?);
    let secrets = Secrets::read_or_make(&arguments, &base)?;
    let settings = ApiSettings {
        max_request_bytes: arguments.max_request_bytes,
        request_timeout: Duration::from_secs(arguments.request_timeout_secs),
        max_connections: file_limit::raise_for(arguments.max_connections),
        rate_limits: arguments.rate_limits(),
        trusted_proxies: arguments.trusted_proxies.clone(),
        metrics,
        certificate: certificate.clone(),
        ..ApiSettings::default()
    };
    if let Some(certificate) = certificate {
        certificate_renewal(&arguments, certificate)?;
    }
    let mut stop = pin!(stop_requested());
    let Some(storage) = leading::storage(&database, &settings, &listener, stop.as_mut()).await? else { return Ok(()) };
    secrets.check(&storage).await?;
    let blobs = blobs(bucket, &base).await?;
    let engine = engine(storage.clone(), blobs, &secrets, engine_settings).await?;
    let server = gradient_api::serve(engine.clone(), settings, listener).context("cannot serve")?;
    let handle = server.handle();
    let running = tokio::spawn(server);
    tracing::info!(%address, url = serve_url, "listening");
    if let Some(token) = engine.setup_token() {
        let token = token.expose();
        tracing::info!("no users yet: the first one who registers with the header `x-gradient-setup: {token}` runs the server");
    }

    let drain = CancellationToken::new();
    let mut worker = arguments.with_worker.then(|| hosted_worker::start(&base, &worker_url, drain.clone())).transpose()?;

    let ends = async {
        let ended = tokio::select! {
            stopped = stop => {
                stopped?;
                tracing::info!("going down: requests and sessions end, builds go on on their workers");
                drain.cancel();
                match worker {
                    Some(worker) => worker.await?,
                    None => Ok(()),
                }
            }
            error = hosted_worker::failure(&mut worker) => Err(error),
        };
        engine.stop();
        // A request that does not end in time ends with the process.
        let _ = tokio::time::timeout(GRACE, handle.stop(true)).await;
        running.await??;
        // What the last requests fetched, and how long the last builds took.
        engine.write_fetches().await?;
        engine.write_durations().await?;
        ended
    };
    tokio::select! {
        ended = ends => ended,
        // What is still going on here, the other one does by now.
        deposed = storage.deposed() => {
            engine.stop();
            handle.stop(false).await;
            Err(deposed).context("this server does not lead any more; it ends, and can be started again as a standby")
        }
    }
}

async fn engine(storage: Storage, blobs: Blobs, secrets: &Secrets, settings: EngineSettings) -> anyhow::Result<Engine> {
    let forge = ForgeSettings {
        git: settings.git.clone(),
        allow_local: settings.allow_local_repositories,
        timeout: settings.repository_timeout,
        ..ForgeSettings::default()
    };
    let forge = Forge::new(forge.with_environment(std::env::vars_os()));
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let passwords = PasswordHasher::new(cores, &mut rand::rng()).context("cannot hash passwords")?;
    let (jwt, sealer) = (JwtKeys::new(secrets.jwt()), Sealer::new(secrets.crypt()));
    let parts = Parts { storage, blobs, forge, jwt, sealer, passwords, settings };
    Engine::start(parts).await.context("cannot take up unfinished work")
}

fn engine_settings(arguments: &Arguments, serve_url: String) -> Result<EngineSettings, WrongSetting> {
    Ok(EngineSettings {
        serve_url,
        frontend_url: arguments.frontend_url.as_deref().map(|url| web_url("GRADIENT_FRONTEND_URL", url)).transpose()?,
        mail: arguments.mail.settings()?,
        require_email_verification: arguments.mail.require_email_verification,
        oidc: arguments.oidc.settings()?,
        oidc_required: arguments.oidc.oidc_required,
        enable_registration: arguments.enable_registration,
        allow_local_repositories: arguments.allow_local_repositories,
        global_stats_public: arguments.global_stats_public,
        lease: Duration::from_secs(arguments.lease_secs),
        build_max_attempts: arguments.build_max_attempts,
        keep_direct_builds: arguments.keep_direct_builds,
        build_timeout: limit(arguments.build_timeout_secs),
        build_max_silent: limit(arguments.build_max_silent_secs),
        max_log_bytes: arguments.build_max_log_bytes,
        max_output_bytes: arguments.build_max_output_bytes,
        max_nar_bytes: arguments.max_upload_bytes,
        ..EngineSettings::default()
    })
}

/// The base directory, which is made when it is not there.
pub(crate) fn base(arguments: &Arguments) -> anyhow::Result<PathBuf> {
    let base = directories::base(arguments.base_dir.clone())?;
    fs::create_dir_all(&base).map_err(|error| {
        WrongSetting::new("GRADIENT_BASE_DIR", &format!("is {}, which cannot be made: {error}", base.display()))
    })?;
    Ok(base)
}

/// The database for what is done on the side, whether a server runs or not.
pub(crate) async fn storage(url: &DatabaseUrl) -> anyhow::Result<Storage> {
    Storage::connect(url, StorageSettings::default()).await.context(CANNOT_OPEN)
}

/// The bucket, or else the directory `store` of the base directory.
pub(crate) async fn blobs(bucket: Option<S3Settings>, base: &Path) -> anyhow::Result<Blobs> {
    let store = base.join("store");
    let Some(bucket) = bucket else {
        return Blobs::open_directory(&store).with_context(|| format!("cannot open the store {}", store.display()));
    };
    let name = bucket.bucket.clone();
    let blobs = Blobs::open_s3(bucket, &store).await.context("cannot open the store of GRADIENT_S3_BUCKET")?;
    if !blobs.refuses_to_replace() {
        tracing::warn!(
            bucket = name,
            "the bucket's server ignores If-None-Match: nothing but this server may write below GRADIENT_S3_PREFIX"
        );
    }
    Ok(blobs)
}

pub(crate) fn database_url(arguments: &Arguments, base: &Path) -> anyhow::Result<DatabaseUrl> {
    let (setting, text) = match (&arguments.database_url, &arguments.database_url_file) {
        (Some(url), _) => ("GRADIENT_DATABASE_URL", url.clone()),
        (None, Some(file)) => {
            let read = fs::read_to_string(file).map_err(|error| {
                WrongSetting::new(
                    "GRADIENT_DATABASE_URL_FILE",
                    &format!("names {}, which cannot be read: {error}", file.display()),
                )
            })?;
            ("GRADIENT_DATABASE_URL_FILE", read.trim().to_owned())
        }
        (None, None) => return Ok(DatabaseUrl::sqlite(base.join("gradient.db"))),
    };
    text.parse().map_err(|error| WrongSetting::new(setting, &format!("is {error}")).into())
}

/// Where the server is reached: as set, without a slash at the end, or where it listens.
fn serve_url(set: Option<&str>, has_tls: bool, address: SocketAddr) -> Result<String, WrongSetting> {
    let scheme = if has_tls { "https" } else { "http" };
    set.map_or_else(|| Ok(format!("{scheme}://{address}")), |url| web_url("GRADIENT_SERVE_URL", url))
}

/// Reads the certificate again whenever somebody says that there is a new one.
fn certificate_renewal(arguments: &Arguments, certificate: Certificate) -> anyhow::Result<()> {
    let tls = arguments.tls.clone();
    let mut hangups = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            match tls.read_again(&certificate) {
                Ok(()) => tracing::info!("the certificate was read again; clients that connect from now on see it"),
                Err(error) => tracing::error!(%error, "the certificate stays as it was"),
            }
        }
    });
    Ok(())
}

/// A URL of pages, without a slash at the end.
fn web_url(setting: &'static str, url: &str) -> Result<String, WrongSetting> {
    let url = url.trim_end_matches('/');
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if host.is_some_and(|host| !host.is_empty() && !host.contains(['?', '#', '@', ' '])) {
        Ok(url.to_owned())
    } else {
        Err(WrongSetting::new(
            setting,
            &format!("is `{url}`: expected http:// or https://, a host and perhaps a port and a path"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serve_url_is_where_it_listens_unless_set() {
        let address: SocketAddr = "127.0.0.1:3000".parse().unwrap();
        let check = |set| serve_url(set, false, address).map_err(|wrong| wrong.to_string());
        assert_eq!(check(None).as_deref(), Ok("http://127.0.0.1:3000"));
        assert_eq!(serve_url(None, true, address).unwrap(), "https://127.0.0.1:3000");
        assert_eq!(check(Some("https://gradient.example.com/")).as_deref(), Ok("https://gradient.example.com"));
        assert!(check(Some("gradient.example.com")).unwrap_err().starts_with("GRADIENT_SERVE_URL is `gradient.example.com`"));
    }
}
