//! A form that is read part by part, as it comes. Nothing of it is held but a chunk of a file or the text of a field.

use std::{
    future::Ready,
    time::{Duration, Instant},
};

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::{FromRequest, HttpRequest, dev::Payload};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use gradient_domain::OrgPermission;
use gradient_engine::SourceError;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{
    ApiError,
    error::Code,
    openapi::{Credentials, Describe, Description, Permission},
    patience::Patience,
};

/// How long the sender may pause. Who is slow for longer than that is given up too.
const MAX_PAUSE: Duration = Duration::from_mins(2);

/// How long the text of a field may be: as long as a wildcard.
const MAX_TEXT_BYTES: usize = 8192;

/// A form on its way.
pub(super) struct Form {
    parts: Multipart,
    patience: Patience,
}

/// One of its parts.
pub(super) struct Part<'f> {
    name: String,
    field: Field,
    patience: &'f mut Patience,
}

/// The fields of a form with sources.
#[derive(ToSchema)]
#[schema(as = DirectBuildForm)]
#[expect(dead_code, reason = "the form is read part by part; this only describes it")]
pub(super) struct Fields {
    /// The organization's name; it has to come before the first file.
    #[schema(example = "acme")]
    organization: String,
    /// The attribute path of a derivation in the flake, or a wildcard.
    #[schema(max_length = 8192, example = "packages.x86_64-linux.#")]
    derivation: String,
    /// A field for each file: `file:` and its path, relative and without `..`. A file that begins with `#!` or as an ELF program
    /// is executable.
    #[schema(rename = "file:flake.nix", example = "{ outputs = { self }: { }; }")]
    file: String,
}

impl FromRequest for Form {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // What is wrong with it, its first part tells.
        let parts = Multipart::from_request(request, payload).into_inner();
        std::future::ready(parts.map(|parts| Self { parts, patience: Patience::new(MAX_PAUSE) }))
    }
}

impl Describe for Form {
    fn describe(description: &mut Description) {
        let errors = [Code::NotFound, Code::Forbidden, Code::BadRequest, Code::PayloadTooLarge];
        description.needs(Permission::Organization(OrgPermission::TriggerEvaluation), Credentials::Required, &errors);
    }
}

impl Form {
    /// The next part, once the one before was read to its end or thrown away.
    pub(super) async fn next(&mut self) -> Result<Option<Part<'_>>, ApiError> {
        let (field, patience) = (next(&mut self.parts, &mut self.patience).await?, &mut self.patience);
        Ok(field.map(|field| Part { name: field.name().unwrap_or_default().to_owned(), field, patience }))
    }
}

impl Part<'_> {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        let chunk = next(&mut self.field, self.patience).await?;
        self.patience.earn(chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk)
    }

    /// All of it, when it is a text of the length of a field.
    pub(super) async fn text(&mut self) -> Result<String, ApiError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > MAX_TEXT_BYTES {
                return Err(ApiError::bad_request(format!("{}: it has more than {MAX_TEXT_BYTES} bytes", self.name)));
            }
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).map_err(|_| ApiError::bad_request(format!("{}: it is not UTF-8", self.name)))
    }
}

async fn next<T>(
    stream: &mut (impl Stream<Item = Result<T, MultipartError>> + Unpin),
    patience: &mut Patience,
) -> Result<Option<T>, ApiError> {
    let begun = Instant::now();
    let next = timeout(patience.left(), stream.next()).await;
    patience.spend(begun.elapsed());
    match next {
        Ok(Some(item)) => item.map(Some).map_err(|error| ApiError::bad_request(format!("the form cannot be read: {error}"))),
        Ok(None) => Ok(None),
        Err(_) => Err(ApiError::bad_request("the upload stopped in the middle, or is too slow")),
    }
}

impl From<SourceError> for ApiError {
    fn from(error: SourceError) -> Self {
        let message = error.to_string();
        match error {
            SourceError::Twice(_) | SourceError::Directory(_) => Self::bad_request(message),
            SourceError::TooMany | SourceError::TooLarge(_) => Self::new(Code::PayloadTooLarge, message),
            SourceError::Engine(error) => error.into(),
        }
    }
}
