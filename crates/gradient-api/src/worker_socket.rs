//! `/proto`: where workers connect. Frames in, frames out; what they mean is the engine's business.

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Session};
use futures_util::StreamExt;
use gradient_engine::{Engine, Opened, WorkerSession};
use gradient_protocol::{
    DecodeError, MAX_FRAME_BYTES, MAX_HELLO_BYTES, Message, RefusalCode, ToServer, ToWorker, decode, encode,
};
use tokio::sync::mpsc;

/// How long a connection may take to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// How often the connection is tried.
const PING: Duration = Duration::from_secs(15);

/// How long it may be silent; pongs count.
const SILENCE: Duration = Duration::from_mins(1);

/// Messages that may wait to be made durable. Beyond that the worker is not read, and waits.
const INBOX: usize = 16;

/// How long one frame may take to be written.
const SEND: Duration = Duration::from_secs(30);

pub(crate) async fn connect(
    request: HttpRequest,
    body: web::Payload,
    engine: web::Data<Engine>,
) -> Result<HttpResponse, actix_web::Error> {
    let (response, session, stream) = actix_ws::handle(&request, body)?;
    let stream = stream.max_frame_size(MAX_FRAME_BYTES).aggregate_continuations().max_continuation_size(MAX_FRAME_BYTES);
    let engine = Engine::clone(&engine);
    actix_web::rt::spawn(async move {
        let reason = Connection { session: session.clone(), stream }.run(engine).await;
        // The other side may be gone already.
        let _ = session.close(Some(reason)).await;
    });
    Ok(response)
}

struct Connection {
    session: Session,
    stream: AggregatedMessageStream,
}

impl Connection {
    async fn run(mut self, engine: Engine) -> CloseReason {
        let hello = match tokio::time::timeout(HELLO, self.hello()).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(message)) => return self.refuse(RefusalCode::Malformed, message).await,
            Err(_) => return self.refuse(RefusalCode::Malformed, "no hello came in time".into()).await,
        };
        match engine.open_worker_session(hello).await {
            Ok(opened) => self.converse(opened).await,
            Err(refused) => self.refuse(refused.code, refused.message).await,
        }
    }

    async fn hello(&mut self) -> Result<gradient_protocol::Hello, String> {
        loop {
            match self.stream.next().await {
                Some(Ok(AggregatedMessage::Binary(frame))) if frame.len() > MAX_HELLO_BYTES => {
                    return Err(format!("a hello of {} bytes; at most {MAX_HELLO_BYTES} are taken", frame.len()));
                }
                Some(Ok(AggregatedMessage::Binary(frame))) => match decode(&frame) {
                    Ok(ToServer::Hello(hello)) => return Ok(hello),
                    Ok(_) => return Err("the first message has to be a hello".into()),
                    Err(error) => return Err(error.to_string()),
                },
                Some(Ok(AggregatedMessage::Ping(bytes))) => self.session.pong(&bytes).await.map_err(|error| error.to_string())?,
                Some(Ok(AggregatedMessage::Pong(_))) => {}
                Some(Ok(_)) => return Err("only binary frames are taken".into()),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("the connection ended before a hello".into()),
            }
        }
    }

    async fn refuse(&mut self, code: RefusalCode, message: String) -> CloseReason {
        tracing::info!(?code, message, "a worker was refused");
        let _ = send(&mut self.session, &ToWorker::Refused { code, message }).await;
        CloseReason::from(CloseCode::Policy)
    }

    /// Until either side ends it. Reading goes on while messages are being stored, so that pings are answered.
    async fn converse(mut self, opened: Opened) -> CloseReason {
        let Opened { session: worker, welcome, mut outbox } = opened;
        let name = worker.worker();
        let (inbox, messages) = mpsc::channel(INBOX);
        let mut consumer = actix_web::rt::spawn(consume(worker, messages));
        let reason = if send(&mut self.session, &ToWorker::Welcome(welcome)).await.is_err() {
            CloseReason::from(CloseCode::Abnormal)
        } else {
            tokio::select! {
                reason = self.exchange(&inbox, &mut outbox) => reason,
                refused = &mut consumer => refused.unwrap_or_else(|_| CloseReason::from(CloseCode::Error)),
            }
        };
        drop(inbox);
        tracing::info!(worker = %name, reason = reason.description.as_deref().unwrap_or_default(), "worker disconnected");
        reason
    }

    async fn exchange(&mut self, inbox: &mpsc::Sender<ToServer>, outbox: &mut mpsc::Receiver<ToWorker>) -> CloseReason {
        let mut heard = Instant::now();
        let mut ping = tokio::time::interval(PING);
        loop {
            tokio::select! {
                // Nothing is read while the inbox is full: that is what slows a worker down.
                permit = inbox.reserve() => {
                    let Ok(permit) = permit else { return CloseReason::from(CloseCode::Error) };
                    tokio::select! {
                        frame = self.stream.next() => {
                            heard = Instant::now();
                            match self.take(frame).await {
                                Ok(Some(message)) => permit.send(message),
                                Ok(None) => {}
                                Err(reason) => return reason,
                            }
                        }
                        message = outbox.recv() => {
                            let Some(message) = message else { return replaced() };
                            if send(&mut self.session, &message).await.is_err() {
                                return CloseReason::from(CloseCode::Abnormal);
                            }
                        }
                        _ = ping.tick() => {
                            if heard.elapsed() > SILENCE || self.session.ping(b"").await.is_err() {
                                return CloseReason::from((CloseCode::Abnormal, "the worker is silent"));
                            }
                        }
                    }
                }
                message = outbox.recv() => {
                    let Some(message) = message else { return replaced() };
                    if send(&mut self.session, &message).await.is_err() {
                        return CloseReason::from(CloseCode::Abnormal);
                    }
                }
            }
        }
    }

    async fn take(
        &mut self,
        frame: Option<Result<AggregatedMessage, actix_ws::ProtocolError>>,
    ) -> Result<Option<ToServer>, CloseReason> {
        match frame {
            Some(Ok(AggregatedMessage::Binary(frame))) => match decode::<ToServer>(&frame) {
                Ok(message) => Ok(Some(message)),
                Err(DecodeError::Unsupported { message_type }) => {
                    let _ = send(&mut self.session, &ToWorker::Unsupported { message_type }).await;
                    Ok(None)
                }
                Err(error) => Err(CloseReason::from((CloseCode::Unsupported, error.to_string()))),
            },
            Some(Ok(AggregatedMessage::Ping(bytes))) => {
                let _ = self.session.pong(&bytes).await;
                Ok(None)
            }
            Some(Ok(AggregatedMessage::Pong(_))) => Ok(None),
            Some(Ok(AggregatedMessage::Text(_))) => {
                Err(CloseReason::from((CloseCode::Unsupported, "only binary frames are taken")))
            }
            Some(Ok(AggregatedMessage::Close(reason))) => Err(reason.unwrap_or_else(|| CloseReason::from(CloseCode::Normal))),
            Some(Err(error)) => Err(CloseReason::from((CloseCode::Protocol, error.to_string()))),
            None => Err(CloseReason::from(CloseCode::Away)),
        }
    }
}

fn replaced() -> CloseReason {
    CloseReason::from((CloseCode::Away, "the session was ended by the server"))
}

/// Stores what the worker says, in order. Ends with the connection, or with the first message that makes no sense.
async fn consume(mut worker: WorkerSession, mut messages: mpsc::Receiver<ToServer>) -> CloseReason {
    let mut reason = CloseReason::from(CloseCode::Normal);
    loop {
        let received = tokio::select! {
            message = messages.recv() => match message {
                Some(message) => worker.receive_later(message).await,
                None => break,
            },
            error = worker.failed() => Err(error),
        };
        if let Err(error) = received {
            tracing::warn!(worker = %worker.worker(), error = &error as &dyn std::error::Error, "ending a worker's session");
            reason = CloseReason::from((CloseCode::Policy, error.to_string()));
            break;
        }
    }
    worker.close().await;
    reason
}

async fn send<M: Message>(session: &mut Session, message: &M) -> Result<(), ()> {
    let frame = encode(message).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a message cannot be sent");
    })?;
    match tokio::time::timeout(SEND, session.binary(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(()),
    }
}
