//! No connection waits for ever. Its client has a while whenever it is the client's turn: to send the head of the next request,
//! to read a piece of the answer, to end a body that nobody wants. After that the connection is closed.
//!
//! The web server itself limits the TLS handshake, the first head of a connection and, with HTTP/1.1, the idle time between
//! requests, and nothing else; bodies that a handler reads are limited where they are read. With HTTP/2 a connection has several
//! requests at a time: it is closed when the client is too slow with any of them.

mod paced;
mod turns;

use std::{
    any::Any,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{Extensions, ServiceRequest, ServiceResponse},
    middleware::Next,
    rt::net::TcpStream,
};
use rustix::net::{Shutdown, shutdown};

use crate::rate_limit;
use paced::Paced;
use turns::Turns;

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
    turns: Mutex<Turns>,
}

/// While this is there, it is the server's turn with one request, unless it says otherwise.
#[derive(Debug)]
struct ServersTurn(Option<(Arc<Connection>, turns::Request)>);

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
        let Some(socket) = socket(stream) else { return };
        // Without a second descriptor the connection has the web server's own limits only.
        let Ok(socket) = socket.try_clone_to_owned() else { return };
        let turns = Mutex::new(Turns::new(millis(self.started.elapsed())));
        let connection = Arc::new(Connection { started: self.started, socket, turns });
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&connection));
        data.insert(connection);
    }

    /// Closes the connections whose clients took too long, and forgets those that have ended.
    fn sweep(&self) {
        let now = millis(self.started.elapsed());
        let limit = millis(self.limit);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            let since = connection.turns().clients_turn_since();
            if since.is_some_and(|since| now.saturating_sub(since) > limit) {
                // The web server finds the socket ended then, whatever it waits for. It may have ended by itself just now.
                let _ = shutdown(&connection.socket, Shutdown::Both);
            }
            true
        });
    }
}

/// The socket of a plain connection, or of one with TLS.
fn socket(stream: &dyn Any) -> Option<BorrowedFd<'_>> {
    let plain = stream.downcast_ref::<TcpStream>();
    let plain = plain.or_else(|| stream.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref().0));
    plain.map(AsFd::as_fd)
}

impl Connection {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

impl ServersTurn {
    /// `None` when the connection has too many requests already.
    fn take(connection: Option<Arc<Connection>>) -> Option<Self> {
        let Some(connection) = connection else { return Some(Self(None)) };
        let request = connection.turns().begin()?;
        Some(Self(Some((connection, request))))
    }

    fn pause(&self) {
        if let Some((connection, request)) = &self.0 {
            connection.turns().give_to_client(*request, connection.now());
        }
    }

    fn resume(&self) {
        if let Some((connection, request)) = &self.0 {
            connection.turns().give_to_server(*request);
        }
    }
}

impl Drop for ServersTurn {
    fn drop(&mut self) {
        if let Some((connection, request)) = &self.0 {
            connection.turns().end(*request, connection.now());
        }
    }
}

/// Notes whose turn it is while a request is answered.
pub(crate) async fn track(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let Some(turn) = ServersTurn::take(request.conn_data::<Arc<Connection>>().cloned()) else {
        let refusal = rate_limit::refusal(Duration::from_secs(1), request.path());
        return Ok(request.into_response(refusal).map_into_right_body());
    };
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| EitherBody::left(Paced::new(body, turn))))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}
