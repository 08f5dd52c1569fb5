//! The form of every JSON answer: `{"error": false, "message": payload}`.

use actix_web::{HttpRequest, HttpResponse, Responder, body::BoxBody};
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::{Describe, Description};

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer<T>(pub(crate) T);

/// What happened, in one sentence.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub(crate) struct Sentence(pub(crate) String);

// A page of a list. Not a doc comment: it would give all pages one schema and one name, whatever they are pages of.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the shape of the answer")]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) total: i64,
    pub(crate) page: u32,
    pub(crate) per_page: u32,
}

/// The form of an answer to a request that succeeded.
#[derive(Serialize, ToSchema)]
pub(crate) struct Envelope<T> {
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

impl<T: ToSchema> Describe for Answer<T> {
    fn describe(description: &mut Description) {
        description.answers::<T>();
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
