//! One connection: the handshake, then both directions at once until one of them ends.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _, stream::SplitSink, stream::SplitStream};
use gradient_protocol::{DecodeError, Hello, MAX_FRAME_BYTES, RefusalCode, ToServer, ToWorker, Welcome, decode, encode};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Bytes, Message, protocol::WebSocketConfig},
};
use url::Url;

use super::{Session, load};
use crate::peers::Peers;

const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(15);
const LOAD_EVERY: Duration = Duration::from_secs(30);
/// How often it is looked whether the machine has run short of something, which is told at once.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const PEERS_EVERY: Duration = Duration::from_secs(2);
/// The server answers each ping, so this much silence means that nobody is there.
const SILENCE: Duration = Duration::from_mins(1);
const SEND_TIME: Duration = Duration::from_mins(1);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection that the server has accepted.
pub(super) struct Connection(Socket);

/// Why a connection is no more.
#[derive(Debug)]
pub(super) enum ConnectionEnd {
    /// The worker was asked to stop, and all is said.
    Drained,
    /// Other tokens have to be proven.
    PeersChanged,
    /// The server does not want this worker, and why.
    Refused(RefusalCode, String),
    /// Anything else.
    Lost(String),
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn lost(reason: impl ToString) -> ConnectionEnd {
    ConnectionEnd::Lost(reason.to_string())
}

impl Connection {
    /// Connects and shakes hands.
    pub(super) async fn open(server: &Url, hello: Hello) -> Result<(Self, Welcome), ConnectionEnd> {
        let handshake = async {
            let config = WebSocketConfig::default().max_message_size(Some(MAX_FRAME_BYTES)).max_frame_size(Some(MAX_FRAME_BYTES));
            let (mut socket, _) = connect_async_with_config(server.as_str(), Some(config), true).await.map_err(lost)?;
            let frame = encode(&ToServer::Hello(hello)).map_err(lost)?;
            socket.send(Message::binary(frame)).await.map_err(lost)?;
            while let Some(message) = socket.next().await {
                match message.map_err(lost)? {
                    Message::Binary(frame) => match decode::<ToWorker>(&frame).map_err(lost)? {
                        ToWorker::Welcome(welcome) => return Ok((Self(socket), welcome)),
                        ToWorker::Refused { code, message } => return Err(ConnectionEnd::Refused(code, message)),
                        _ => return Err(lost("the server does not answer the handshake")),
                    },
                    Message::Close(_) => break,
                    _ => {}
                }
            }
            Err(lost("the server closes the connection"))
        };
        match timeout(HANDSHAKE_TIME, handshake).await {
            Ok(outcome) => outcome,
            Err(_) => Err(lost("the server does not answer in time")),
        }
    }

    /// Speaks with the server until the connection ends.
    pub(super) async fn serve(self, session: &Session, peers: &Peers) -> ConnectionEnd {
        let (mut sink, stream) = self.0.split();
        let (replies, queue) = mpsc::channel(16);
        let end = tokio::select! {
            end = read(stream, session, replies) => end,
            end = write(&mut sink, session, queue) => end,
            end = watch(session, peers) => end,
        };
        // The other side may be gone already.
        let _ = timeout(Duration::from_secs(2), sink.close()).await;
        end
    }
}

/// Takes what the server says.
async fn read(mut stream: SplitStream<Socket>, session: &Session, replies: mpsc::Sender<ToServer>) -> ConnectionEnd {
    loop {
        let message = match timeout(SILENCE, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return lost(error),
            Ok(None) => return lost("the server closed the connection"),
            Err(_) => return lost(format!("the server said nothing for {} seconds", SILENCE.as_secs())),
        };
        let frame = match message {
            Message::Binary(frame) => frame,
            Message::Close(_) => return lost("the server closed the connection"),
            _ => continue,
        };
        match decode::<ToWorker>(&frame) {
            Ok(message) => {
                if let Some(end) = take(session, message, &replies) {
                    return end;
                }
            }
            Err(DecodeError::Unsupported { message_type }) => {
                if replies.send(ToServer::Unsupported { message_type }).await.is_err() {
                    return lost("the connection ended");
                }
            }
            Err(error) => return lost(error),
        }
    }
}

fn take(session: &Session, message: ToWorker, replies: &mpsc::Sender<ToServer>) -> Option<ConnectionEnd> {
    match message {
        ToWorker::Assign { job, epoch, peer, task } => session.jobs.assign(job, epoch, peer, *task),
        ToWorker::Cancel { job, epoch, reason } => {
            tracing::info!(%job, %epoch, reason, "cancelled");
            session.jobs.cancel(job, epoch);
        }
        ToWorker::Sign { number, key, fingerprints } => {
            let signatures = session.settings.signing_keys.sign(&key, &fingerprints);
            match &signatures {
                Ok(signatures) => tracing::info!(paths = signatures.len(), "signed"),
                Err(reason) => tracing::warn!(reason, "not signed"),
            }
            return replies.try_send(ToServer::Signed { number, signatures }).err().map(lost);
        }
        ToWorker::Drain {} => {
            tracing::info!("the server gives this worker nothing new");
            return replies.try_send(ToServer::Draining {}).err().map(lost);
        }
        ToWorker::Acknowledged { number } => session.outbox.acknowledge(number),
        ToWorker::LogStored { job, epoch, offset } => session.outbox.log_stored((job, epoch), offset),
        ToWorker::Welcome(welcome) => session.transfer.set_token(&welcome.session_token),
        ToWorker::Refused { code, message } => return Some(ConnectionEnd::Refused(code, message)),
        ToWorker::Unsupported { message_type } => tracing::warn!(message_type, "the server does not know a message"),
    }
    None
}

/// Says what there is to say.
async fn write(sink: &mut SplitSink<Socket, Message>, session: &Session, mut replies: mpsc::Receiver<ToServer>) -> ConnectionEnd {
    let mut pings = interval(PING_EVERY);
    let mut looks = interval(LOOK_EVERY);
    let (mut told, mut shortage) = (None::<Instant>, None);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told_to_drain = false;
    loop {
        let message = tokio::select! {
            biased;
            _ = pings.tick() => Ok(Message::Ping(Bytes::new())),
            Some(reply) = replies.recv() => encode(&reply).map(Message::binary),
            _ = looks.tick() => {
                let load = load::now(&session.reserve, &session.store);
                if load.shortage == shortage && told.is_some_and(|told| told.elapsed() < LOAD_EVERY) {
                    continue;
                }
                if load.shortage != shortage {
                    tracing::warn!(shortage = load.shortage.map(tracing::field::debug), "what the machine has too little of to begin anything new has changed");
                }
                (told, shortage) = (Some(Instant::now()), load.shortage);
                encode(&ToServer::Load(load)).map(Message::binary)
            }
            () = session.stop.cancelled(), if !told_to_drain => {
                told_to_drain = true;
                encode(&ToServer::Draining {}).map(Message::binary)
            }
            frame = next_frame(session) => match frame {
                Some(frame) => Ok(Message::Binary(frame)),
                None => return ConnectionEnd::Drained,
            }
        };
        let message = match message {
            Ok(message) => message,
            Err(error) => return lost(error),
        };
        match timeout(SEND_TIME, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return lost(error),
            Err(_) => return lost("the server takes nothing"),
        }
    }
}

/// The next frame of the outbox; nothing once the worker is to stop and all is said.
async fn next_frame(session: &Session) -> Option<Bytes> {
    loop {
        if let Some(frame) = session.outbox.next_frame() {
            return Some(frame);
        }
        if session.stop.is_cancelled() && session.outbox.is_empty() {
            return None;
        }
        session.outbox.changed().await;
    }
}

/// Until the peers file says something else than what was proven.
async fn watch(session: &Session, peers: &Peers) -> ConnectionEnd {
    let mut ticks = interval(PEERS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut broken = false;
    loop {
        ticks.tick().await;
        match session.settings.peers.read() {
            Ok(read) if read != *peers => return ConnectionEnd::PeersChanged,
            Ok(_) => broken = false,
            Err(error) if !broken => {
                broken = true;
                tracing::warn!(%error, "the peers file cannot be used; going on with what it said");
            }
            Err(_) => {}
        }
    }
}
