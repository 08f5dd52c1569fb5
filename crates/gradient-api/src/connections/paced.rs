use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    web::Bytes,
};

use super::ServersTurn;

/// The most that is handed to a connection at once.
const PIECE: usize = 64 << 10;

/// The body of an answer, handed out in pieces. A large one is not copied into the connection's buffer as a whole, and each
/// piece that is not read gives the client away.
pub(super) struct Paced {
    body: BoxBody,
    rest: Bytes,
    turn: ServersTurn,
}

impl Paced {
    pub(super) fn new(body: impl MessageBody + 'static, turn: ServersTurn) -> Self {
        Self { body: BoxBody::new(body), rest: Bytes::new(), turn }
    }
}

impl MessageBody for Paced {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.turn.resume();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_next(context)) {
                Some(Ok(bytes)) => self.rest = bytes,
                other => return Poll::Ready(other),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        self.turn.pause();
        Poll::Ready(Some(Ok(piece)))
    }
}
