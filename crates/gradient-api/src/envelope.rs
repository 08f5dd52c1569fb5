//! The form of every JSON answer: `{"error": false, "message": payload}`.

use actix_web::{HttpRequest, HttpResponse, Responder, body::BoxBody};
use serde::Serialize;

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer<T>(pub(crate) T);

/// A payload for mutations that only report.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Sentence(pub(crate) String);

/// A page of a list.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the shape of the answer")]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) total: i64,
    pub(crate) page: u32,
    pub(crate) per_page: u32,
}

#[derive(Serialize)]
struct Envelope<T> {
    error: bool,
    message: T,
}

#[derive(Serialize)]
struct ErrorEnvelope<'a> {
    error: bool,
    code: &'a str,
    message: &'a str,
}

impl<T: Serialize> Responder for Answer<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.into_response()
    }
}

impl<T: Serialize> Answer<T> {
    pub(crate) fn into_response(self) -> HttpResponse {
        HttpResponse::Ok().json(self.body())
    }

    /// The envelope itself, for answers that need a header of their own.
    pub(crate) fn body(self) -> impl Serialize {
        Envelope { error: false, message: self.0 }
    }
}

/// The envelope of an error.
pub(crate) fn error<'a>(code: &'a str, message: &'a str) -> impl Serialize + use<'a> {
    ErrorEnvelope { error: true, code, message }
}
