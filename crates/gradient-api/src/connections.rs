//! No connection waits for ever. Its client has a while whenever it is the client's turn: to send the head of the next request,
//! to read a piece of the answer, to end a body that nobody wants. After that the connection is closed.
//!
//! The web server itself limits the first head of a connection and the idle time between requests, and nothing else; bodies that
//! a handler reads are limited where they are read.

mod paced;

use std::{
    any::Any,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::{
    Error,
    body::MessageBody,
    dev::{Extensions, ServiceRequest, ServiceResponse},
    middleware::Next,
    rt::net::TcpStream,
};
use rustix::net::{Shutdown, shutdown};

use paced::Paced;

/// How often the connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// All open connections of a server.
#[derive(Debug)]
pub(crate) struct Connections {
    started: Instant,
    /// How long a client may take when it is its turn.
    limit: Duration,
    open: Mutex<Vec<Weak<Connection>>>,
}

/// One connection. It is known as long as the web server keeps it.
#[derive(Debug)]
struct Connection {
    started: Instant,
    /// The socket once more, to close it by.
    socket: OwnedFd,
    /// Since when it is the client's turn, in milliseconds since `started`; [`SERVERS_TURN`] while it is not.
    clients_turn_since: AtomicU64,
}

const SERVERS_TURN: u64 = u64::MAX;

/// While this is there, it is the server's turn.
#[derive(Debug)]
struct ServersTurn(Option<Arc<Connection>>);

impl Connections {
    /// Looks after connections until the server is gone. Needs a tokio runtime.
    pub(crate) fn watch(limit: Duration) -> Arc<Self> {
        let connections = Arc::new(Self { started: Instant::now(), limit, open: Mutex::default() });
        let watched = Arc::downgrade(&connections);
        tokio::spawn(async move {
            let mut sweep = tokio::time::interval(SWEEP);
            loop {
                sweep.tick().await;
                let Some(connections) = watched.upgrade() else { return };
                connections.sweep();
            }
        });
        connections
    }

    /// Takes a new connection into account.
    pub(crate) fn opened(&self, stream: &dyn Any, data: &mut Extensions) {
        let Some(stream) = stream.downcast_ref::<TcpStream>() else { return };
        // Without a second descriptor the connection has the web server's own limits only.
        let Ok(socket) = stream.as_fd().try_clone_to_owned() else { return };
        let connection = Arc::new(Connection { started: self.started, socket, clients_turn_since: AtomicU64::new(0) });
        connection.give_turn_to_client();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&connection));
        data.insert(connection);
    }

    /// Closes the connections whose clients took too long, and forgets those that have ended.
    fn sweep(&self) {
        let now = millis(self.started.elapsed());
        let limit = millis(self.limit);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            let since = connection.clients_turn_since.load(Ordering::Relaxed);
            if since != SERVERS_TURN && now.saturating_sub(since) > limit {
                // The web server finds the socket ended then, whatever it waits for. It may have ended by itself just now.
                let _ = shutdown(&connection.socket, Shutdown::Both);
            }
            true
        });
    }
}

impl Connection {
    fn give_turn_to_client(&self) {
        self.clients_turn_since.store(millis(self.started.elapsed()), Ordering::Relaxed);
    }

    fn take_turn(&self) {
        self.clients_turn_since.store(SERVERS_TURN, Ordering::Relaxed);
    }
}

impl ServersTurn {
    fn take(connection: Option<Arc<Connection>>) -> Self {
        if let Some(connection) = &connection {
            connection.take_turn();
        }
        Self(connection)
    }

    fn pause(&self) {
        if let Some(connection) = &self.0 {
            connection.give_turn_to_client();
        }
    }

    fn resume(&self) {
        if let Some(connection) = &self.0 {
            connection.take_turn();
        }
    }
}

impl Drop for ServersTurn {
    fn drop(&mut self) {
        self.pause();
    }
}

/// Notes whose turn it is while a request is answered.
pub(crate) async fn track(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let turn = ServersTurn::take(request.conn_data::<Arc<Connection>>().cloned());
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| Paced::new(body, turn)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}
