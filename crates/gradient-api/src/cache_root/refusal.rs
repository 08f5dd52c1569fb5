use std::fmt;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
};

use crate::{
    envelope,
    error::{ApiError, Code},
};

/// What form an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As Nix reads it.
    Text,
    /// As programs ask for with `?json`.
    Json,
}

impl Form {
    pub(super) fn of(request: &HttpRequest) -> Self {
        let is_json = |pair: &str| pair.split('=').next() == Some("json");
        if request.query_string().split('&').any(is_json) { Self::Json } else { Self::Text }
    }
}

/// An error in the form that was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    error: ApiError,
    form: Form,
}

impl Refusal {
    pub(super) const fn new(error: ApiError, form: Form) -> Self {
        Self { error, form }
    }

    pub(super) fn not_found(form: Form) -> Self {
        Self { error: ApiError::not_found("this cache does not have that"), form }
    }

    pub(super) fn unauthorized(form: Form) -> Self {
        let message = "this cache is private: send an API key as the password, with any user name";
        Self { error: ApiError::new(Code::Unauthorized, message), form }
    }

    /// Turns errors into refusals of this form.
    pub(super) fn failed<E: Into<ApiError>>(form: Form) -> impl Fn(E) -> Self {
        move |error| Self { error: error.into(), form }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.error.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status_code());
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Basic realm=\"gradient\""));
        }
        match self.form {
            Form::Text => response.content_type(ContentType::plaintext()).body(format!("{self}\n")),
            Form::Json => response.json(envelope::error(self.error.code().slug(), &self.to_string())),
        }
    }
}

/// The answer to paths that no cache has.
pub(super) async fn unknown(request: HttpRequest) -> HttpResponse {
    Refusal::not_found(Form::of(&request)).error_response()
}
