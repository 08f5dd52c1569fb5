//! Only one server leads on a database. Another one that is started is a standby until the first is gone.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    pin::{Pin, pin},
    process,
    sync::Arc,
};

use anyhow::Context;
use gradient_api::ApiSettings;
use gradient_storage::{DatabaseUrl, Storage, StorageSettings};
use tokio::sync::Notify;

use crate::start::CANNOT_OPEN;

/// Opens the database once this server leads on it; `None` when it is asked to stop before. Meanwhile it answers as a standby does,
/// on a second handle to the listener, so that nobody who connects in between is turned away.
pub(crate) async fn storage(
    database: &DatabaseUrl,
    settings: &ApiSettings,
    listener: &TcpListener,
    stop: Pin<&mut impl Future<Output = anyhow::Result<()>>>,
) -> anyhow::Result<Option<Storage>> {
    let waits = Arc::new(Notify::new());
    let told = Arc::clone(&waits);
    let waiting = move |leader: &str| {
        tracing::info!(leader, "another server leads on the database: waiting as a standby until it is gone");
        told.notify_one();
    };
    let name = name(listener.local_addr()?);
    let mut leads = pin!(Storage::lead(database, StorageSettings::default(), &name, waiting));
    tokio::select! {
        storage = &mut leads => return storage.map(Some).context(CANNOT_OPEN),
        () = waits.notified() => {}
    }
    let standby = gradient_api::standby(settings, listener.try_clone()?).context("cannot serve")?;
    let handle = standby.handle();
    let running = tokio::spawn(standby);
    let storage = tokio::select! {
        storage = leads => storage.map(Some).context(CANNOT_OPEN),
        stop = stop => stop.map(|()| None),
    };
    handle.stop(false).await;
    running.await??;
    storage
}

/// What others call this server while they wait for it.
fn name(address: SocketAddr) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { address.ip().to_string() } else { host.trim().to_owned() };
    format!("{host}:{} (process {})", address.port(), process::id())
}
