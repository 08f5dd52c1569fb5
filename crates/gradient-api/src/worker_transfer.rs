//! The routes beside the workers' socket on which NARs travel.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use futures_util::{StreamExt, TryStreamExt};
use gradient_cache_protocol::ingest::IngestError;
use gradient_domain::{Epoch, Job, JobKind};
use gradient_engine::{Engine, SourceDeclaration, UploadError};
use gradient_nix::StorePath;
use gradient_protocol::transfer::{
    CONTENT_ADDRESS_HEADER, Inputs, Known, Missing, OFFSET_HEADER, Paths, REFERENCES_HEADER, Refusal, TOO_LARGE, WRONG_OFFSET,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    ApiSettings,
    body::{self, BodyLimits, Sender},
};

/// How long a worker may pause in the middle of an upload, which holds a thread.
const MAX_PAUSE: Duration = Duration::from_mins(2);

/// The most bytes of a question about paths.
const MAX_PATHS_BYTES: usize = 2 << 20;

/// The bounds of all questions about paths.
pub(crate) fn body_limits(settings: &ApiSettings) -> BodyLimits {
    BodyLimits::new(MAX_PATHS_BYTES, settings.request_timeout)
}

/// Adds the routes below `/proto/jobs`.
pub(crate) fn configure(config: &mut web::ServiceConfig, limits: &web::Data<BodyLimits>) {
    config.service(
        web::scope("/proto/jobs/{kind}/{id}/{epoch}")
            .app_data(limits.clone())
            .route("/task", web::get().to(task))
            .route("/missing", web::post().to(missing))
            .route("/known", web::post().to(known))
            .route("/inputs", web::post().to(inputs))
            .route("/paths/{path}", web::put().to(upload))
            .route("/paths/{path}", web::get().to(download))
            .route("/pieces/{path}", web::put().to(piece))
            .route("/pieces/{path}", web::head().to(offset))
            .route("/pieces/{path}/finish", web::post().to(finish)),
    );
}

/// The job that a transfer belongs to.
#[derive(Debug, Deserialize)]
struct JobAddress {
    kind: String,
    id: Uuid,
    epoch: u32,
}

/// A path for, or of, a job.
#[derive(Debug, Deserialize)]
struct PathAddress {
    kind: String,
    id: Uuid,
    epoch: u32,
    path: String,
}

/// An answer that is not a success.
struct Refused(StatusCode, &'static str, String);

fn job(kind: &str, id: Uuid, epoch: u32) -> Result<(Job, Epoch), Refused> {
    let kind: JobKind = kind.parse().map_err(|error| bad_request(&error))?;
    Ok((Job::from_parts(kind, id), Epoch(epoch)))
}

impl PathAddress {
    fn parse(&self) -> Result<(Job, Epoch, StorePath), Refused> {
        let (job, epoch) = job(&self.kind, self.id, self.epoch)?;
        Ok((job, epoch, self.path.parse().map_err(|error| bad_request(&error))?))
    }
}

impl From<Refused> for HttpResponse {
    fn from(Refused(status, code, message): Refused) -> Self {
        Self::build(status).json(Refusal { code: code.to_owned(), message })
    }
}

fn bad_request(error: &dyn std::error::Error) -> Refused {
    Refused(StatusCode::BAD_REQUEST, "bad_request", error.to_string())
}

fn token(request: &HttpRequest) -> Result<&str, Refused> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    header
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(|| Refused(StatusCode::UNAUTHORIZED, "unauthorized", "expected the session's token as a bearer token".into()))
}

impl From<UploadError> for Refused {
    fn from(error: UploadError) -> Self {
        let message = error.to_string();
        match error {
            UploadError::UnknownSession => Self(StatusCode::UNAUTHORIZED, "unauthorized", message),
            UploadError::NotOwner { .. } => Self(StatusCode::CONFLICT, "not_owner", message),
            UploadError::NotAnOutput { .. } => Self(StatusCode::FORBIDDEN, "not_an_output", message),
            UploadError::Undeclared(_) => Self(StatusCode::BAD_REQUEST, "undeclared", message),
            UploadError::Refused(IngestError::Keep(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an upload cannot be kept");
                Self(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the server cannot store this now".into())
            }
            UploadError::Refused(_) => Self(StatusCode::UNPROCESSABLE_ENTITY, "refused", message),
            UploadError::TooLarge(_) => Self(StatusCode::UNPROCESSABLE_ENTITY, TOO_LARGE, message),
            UploadError::Incomplete(_) => Self(StatusCode::BAD_REQUEST, "incomplete", message),
            UploadError::WrongOffset { .. } => Self(StatusCode::CONFLICT, WRONG_OFFSET, message),
            UploadError::Busy => Self(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message),
            UploadError::Unknown(_) => Self(StatusCode::NOT_FOUND, "not_found", message),
            UploadError::Engine(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a transfer failed");
                Self(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the server cannot store or read this now".into())
            }
        }
    }
}

async fn task(request: HttpRequest, address: web::Path<JobAddress>, engine: web::Data<Engine>) -> HttpResponse {
    let answer = async {
        let (job, epoch) = job(&address.kind, address.id, address.epoch)?;
        Ok::<_, Refused>(engine.task(token(&request)?, job, epoch).await?)
    };
    match answer.await {
        Ok(task) => HttpResponse::Ok().content_type("application/msgpack").body(task),
        Err(refused) => refused.into(),
    }
}

async fn missing(question: Question) -> HttpResponse {
    let find = async |engine: &Engine, token: &str, job, epoch, paths| engine.missing_paths(token, job, epoch, paths).await;
    answer(question, find, |missing| Missing { missing }).await
}

async fn known(question: Question) -> HttpResponse {
    let find = async |engine: &Engine, token: &str, job, epoch, paths| engine.known_derivations(token, job, epoch, paths).await;
    answer(question, find, |known| Known { known }).await
}

async fn inputs(question: Question) -> HttpResponse {
    let find = async |engine: &Engine, token: &str, job, epoch, paths| engine.imported_paths(token, job, epoch, paths).await;
    answer(question, find, |inputs| Inputs { inputs }).await
}

/// A question about paths that has not been read.
type Question = (HttpRequest, web::Path<JobAddress>, web::Payload, web::Data<BodyLimits>, web::Data<Engine>);

/// Reads a question and answers it. Nothing is read from somebody who has no such job.
async fn answer<T, A: Serialize>(
    (request, address, body, limits, engine): Question,
    find: impl AsyncFnOnce(&Engine, &str, Job, Epoch, Vec<StorePath>) -> Result<T, UploadError>,
    say: impl FnOnce(T) -> A,
) -> HttpResponse {
    let found = async {
        let (job, epoch) = job(&address.kind, address.id, address.epoch)?;
        let token = token(&request)?;
        let sender = Sender::Workers(engine.transfer_organization(token, job, epoch)?);
        let paths = body::read(&limits, sender, &request, body).await;
        let Paths { paths } = paths.map_err(|error| Refused(error.code().status(), error.code().slug(), error.to_string()))?;
        if paths.len() > 10_000 {
            return Err(Refused(StatusCode::BAD_REQUEST, "bad_request", "at most 10,000 paths at a time".into()));
        }
        Ok(find(&engine, token, job, epoch, paths).await?)
    };
    match found.await {
        Ok(found) => HttpResponse::Ok().json(say(found)),
        Err(refused) => refused.into(),
    }
}

async fn upload(
    request: HttpRequest,
    address: web::Path<PathAddress>,
    mut body: web::Payload,
    engine: web::Data<Engine>,
) -> HttpResponse {
    let answer = async {
        let (job, epoch, path) = address.parse()?;
        let mut upload = engine.begin_upload(token(&request)?, job, epoch, path.clone(), declared(&request)?).await?;
        let incomplete = || UploadError::Incomplete(path.clone());
        while let Some(chunk) = timeout(MAX_PAUSE, body.next()).await.map_err(|_| incomplete())? {
            let chunk = chunk.map_err(|_| incomplete())?;
            if upload.write(chunk).await.is_err() {
                break;
            }
        }
        upload.finish().await?;
        Ok::<_, Refused>(())
    };
    match answer.await {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(refused) => refused.into(),
    }
}

/// Where a piece begins.
#[derive(Debug, Deserialize)]
struct PieceQuery {
    offset: u64,
}

async fn piece(
    request: HttpRequest,
    address: web::Path<PathAddress>,
    query: web::Query<PieceQuery>,
    body: web::Payload,
    engine: web::Data<Engine>,
) -> HttpResponse {
    let answer = async {
        let (job, epoch, path) = address.parse()?;
        Ok::<_, Refused>(engine.write_piece(token(&request)?, job, epoch, path, query.offset, body).await?)
    };
    come(answer.await)
}

async fn offset(request: HttpRequest, address: web::Path<PathAddress>, engine: web::Data<Engine>) -> HttpResponse {
    let answer = async {
        let (job, epoch, path) = address.parse()?;
        Ok::<_, Refused>(engine.pieces_offset(token(&request)?, job, epoch, path).await?)
    };
    come(answer.await)
}

/// So much has come.
fn come(offset: Result<u64, Refused>) -> HttpResponse {
    match offset {
        Ok(offset) => HttpResponse::NoContent().insert_header((OFFSET_HEADER, offset.to_string())).finish(),
        Err(refused) => refused.into(),
    }
}

async fn finish(request: HttpRequest, address: web::Path<PathAddress>, engine: web::Data<Engine>) -> HttpResponse {
    let answer = async {
        let (job, epoch, path) = address.parse()?;
        Ok::<_, Refused>(engine.finish_pieces(token(&request)?, job, epoch, path, declared(&request)?).await?)
    };
    match answer.await {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(refused) => refused.into(),
    }
}

fn declared(request: &HttpRequest) -> Result<Option<SourceDeclaration>, Refused> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let Some(content_address) = text(CONTENT_ADDRESS_HEADER) else { return Ok(None) };
    let references = text(REFERENCES_HEADER).unwrap_or_default().split_ascii_whitespace().map(str::parse);
    let references = references.collect::<Result<_, _>>().map_err(|error| bad_request(&error))?;
    Ok(Some(SourceDeclaration { content_address: content_address.to_owned(), references }))
}

async fn download(request: HttpRequest, address: web::Path<PathAddress>, engine: web::Data<Engine>) -> HttpResponse {
    let answer = async {
        let (job, epoch, path) = address.parse()?;
        Ok::<_, Refused>(engine.path_nar(token(&request)?, job, epoch, path).await?)
    };
    match answer.await {
        Ok(blob) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "application/zstd"))
            .no_chunking(blob.size)
            .streaming(blob.stream.map_err(std::io::Error::other)),
        Err(refused) => refused.into(),
    }
}
