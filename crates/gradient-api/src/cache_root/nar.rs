use std::{convert::Infallible, ops::Range};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodyStream, SizedStream},
    http::{
        Method, StatusCode,
        header::{self, CacheControl, CacheDirective, ETag, EntityTag},
    },
    web,
};
use bytes::Bytes;
use futures_util::stream;
use gradient_auth::Caller;
use gradient_cache_protocol::ingest::{NarFileName, NarFileNameError};
use gradient_engine::{CachedNar, PulledNar, ServedCache};
use gradient_nix::StorePathHash;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    pull::{self, Pull},
    push::{Push, Sent},
    refusal::Refusal,
};
use crate::{
    ApiError,
    files::{Unsent, Wanted, content_range, wanted},
};

/// How long others may keep a NAR, in seconds: a year, as it never changes.
const MAX_AGE: u32 = 31_536_000;

/// Which NAR, by the name of its file.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    file: String,
}

/// As which path it is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PathQuery {
    /// The hash of a store path, as the narinfo has it in its `URL`: a cache that pulls looks for the NAR by it.
    #[param(example = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz")]
    hash: Option<String>,
}

/// Sends a NAR, or a part of it.
///
/// The file is `<hash of the NAR>.nar.zst`. It never changes: it may be kept for ever. `Range`, `If-Range` and `If-None-Match` work.
/// `HEAD` also finds what the caller has uploaded and no narinfo has named yet.
/// A server that keeps NARs in a bucket may be set to send clients there; such an address is good for five minutes, and may not be
/// kept.
#[utoipa::path(
    method(get, head),
    path = "/nar/{file}",
    params(PathQuery),
    responses(
        (status = 200, description = "The NAR, compressed with zstd.", body = [u8], content_type = "application/x-nix-nar"),
        (status = 206, description = "A part of it.", body = [u8], content_type = "application/x-nix-nar"),
        (status = 304, description = "The client has it."),
        (status = 307, description = "It is at the address in `Location` for some minutes, also a part of it."),
        (status = 416, description = "It has no such part."),
    )
)]
pub(super) async fn nar(
    pull: Pull,
    request: HttpRequest,
    address: web::Path<Address>,
    query: Result<web::Query<PathQuery>, actix_web::Error>,
) -> Result<HttpResponse, Refusal> {
    let name = address.file.parse::<NarFileName>().map_err(|_| pull.not_found())?;
    // What is no hash is none that anybody has.
    let path = query.ok().and_then(|query| query.hash.as_deref()?.parse().ok()).filter(|_| pull.looks_further);
    let Some(nar) = find(&pull, &name).await? else { return elsewhere(&pull, &request, &name, path).await };
    if let (Some(path), &Method::GET) = (path, request.method()) {
        pull.engine.take_over(&pull.cache, path, &nar, name.hash());
    }
    let tag = EntityTag::new_strong(nar.file_hash.to_nix32());
    let (status, range) = match wanted(&request, &tag, nar.file_size) {
        Wanted::Nothing => return Ok(head(StatusCode::NOT_MODIFIED, &pull.cache, tag).finish()),
        Wanted::Unsatisfiable => {
            let mut response = head(StatusCode::RANGE_NOT_SATISFIABLE, &pull.cache, tag);
            return Ok(response.insert_header(content_range(None, nar.file_size)).finish());
        }
        Wanted::All => (StatusCode::OK, 0..nar.file_size),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    let mut response = head(status, &pull.cache, tag);
    response.content_type("application/x-nix-nar");
    if status == StatusCode::PARTIAL_CONTENT {
        response.insert_header(content_range(Some(&range), nar.file_size));
    }
    if *request.method() == Method::HEAD {
        return Ok(response.body(Unsent(range.end - range.start)));
    }
    // The other server knows nothing of this one's tags.
    if !request.headers().contains_key(header::IF_RANGE)
        && let Some(elsewhere) = pull.engine.presigned_nar(&nar).await.map_err(pull.failed())?
    {
        return Ok(redirect(elsewhere.expose()));
    }
    send(&pull, &nar, range, response).await
}

/// Whoever has the URL can read the NAR, so nobody is to keep it.
fn redirect(url: &str) -> HttpResponse {
    let mut response = HttpResponse::TemporaryRedirect();
    response.insert_header(CacheControl(vec![CacheDirective::Private, CacheDirective::NoStore]));
    response.insert_header((header::LOCATION, url)).finish()
}

/// A NAR that the cache serves, or an upstream on this server. What others may have is compressed in another way.
async fn find(pull: &Pull, name: &NarFileName) -> Result<Option<CachedNar>, Refusal> {
    if name.extension() != "zst" {
        return Ok(None);
    }
    let found = pull.engine.cached_nar(&pull.cache, name.hash()).await.map_err(pull.failed())?;
    if found.is_some() || !pull.looks_further {
        return Ok(found);
    }
    pull.engine.upstream_nar(&pull.cache, &pull.caller, name.hash()).await.map_err(pull.failed())
}

/// A NAR that an upstream has and the cache pulls, or one that the caller has uploaded.
async fn elsewhere(
    pull: &Pull,
    request: &HttpRequest,
    name: &NarFileName,
    path: Option<StorePathHash>,
) -> Result<HttpResponse, Refusal> {
    let Some(path) = path.filter(|_| name.extension() == "zst") else { return uploaded(pull, request, name).await };
    let mut response = HttpResponse::Ok();
    response.insert_header(cache_control(&pull.cache)).content_type("application/x-nix-nar");
    if *request.method() == Method::HEAD {
        let can_pull = pull.engine.can_pull(&pull.cache, path, name.hash()).await.map_err(pull.failed())?;
        let nothing = stream::empty::<Result<Bytes, Infallible>>();
        return if can_pull { Ok(response.body(BodyStream::new(nothing))) } else { Err(pull.not_found()) };
    }
    let pulled = pull.engine.pull_nar(&pull.cache, path, name.hash()).await.map_err(pull.failed())?;
    let PulledNar { size, stream } = pulled.ok_or_else(|| pull.not_found())?;
    Ok(match size {
        Some(size) => response.body(SizedStream::new(size, stream)),
        None => response.body(BodyStream::new(stream)),
    })
}

/// Whether the caller has uploaded it: `nix copy` asks so before it does.
async fn uploaded(pull: &Pull, request: &HttpRequest, name: &NarFileName) -> Result<HttpResponse, Refusal> {
    if *request.method() == Method::HEAD && request.headers().contains_key(header::AUTHORIZATION) {
        // Whoever may read without credentials may do so with bad ones.
        let caller = pull::caller(&pull.engine, request, pull.form).await.unwrap_or(Caller::Anonymous);
        let uploader = pull.engine.may_push(&pull.cache, &caller).await.map_err(pull.failed())?;
        if let Ok(uploader) = uploader
            && pull.engine.has_uploaded_nar(&pull.cache, &uploader, name).await.map_err(pull.failed())?
        {
            return Ok(HttpResponse::Ok().content_type("application/x-nix-nar").finish());
        }
    }
    Err(pull.not_found())
}

/// Takes in a NAR, compressed with zstd, xz, bzip2, gzip, br, lz4, lzma or lzip, or not at all.
///
/// It is checked as it comes: its form, and that its file is named by the hash of the file or of the NAR. It is the caller's only
/// until a narinfo names it, which has to come within 24 hours. A user can have eight uploads on the way at a time, and one that is
/// slower than 64 KiB per second for long is given up. Its content type does not matter.
#[utoipa::path(
    put,
    path = "/nar/{file}",
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses((status = 200, description = "The NAR is there. Its narinfo may come."))
)]
pub(super) async fn put_nar(push: Push, address: web::Path<Address>, mut sent: Sent) -> Result<HttpResponse, Refusal> {
    let name = parse_name(&address.file).map_err(push.failed())?;
    let mut upload = push.engine.begin_nar(&push.cache, &push.uploader, name).await.map_err(push.failed())?;
    while let Some(chunk) = sent.next().await.map_err(push.failed())? {
        if !upload.write(chunk).await {
            break;
        }
    }
    upload.finish().await.map_err(push.failed())?;
    Ok(HttpResponse::Ok().finish())
}

pub(super) fn parse_name(name: &str) -> Result<NarFileName, ApiError> {
    name.parse().map_err(|error: NarFileNameError| ApiError::bad_request(error.to_string()))
}

async fn send(
    pull: &Pull,
    nar: &CachedNar,
    range: Range<u64>,
    mut response: HttpResponseBuilder,
) -> Result<HttpResponse, Refusal> {
    let size = range.end - range.start;
    let part = (size < nar.file_size).then_some(range);
    let blob = pull.engine.open_nar(nar, part).await.map_err(pull.failed())?;
    Ok(response.body(SizedStream::new(size, blob.ok_or_else(|| pull.not_found())?.stream)))
}

/// The head of an answer that is a NAR from its beginning to its end.
pub(super) fn whole_nar(cache: &ServedCache, nar: &CachedNar) -> HttpResponseBuilder {
    let mut response = head(StatusCode::OK, cache, EntityTag::new_strong(nar.file_hash.to_nix32()));
    response.content_type("application/x-nix-nar");
    response
}

fn head(status: StatusCode, cache: &ServedCache, tag: EntityTag) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header(cache_control(cache));
    response.insert_header((header::ACCEPT_RANGES, "bytes"));
    response.insert_header(ETag(tag));
    response
}

fn cache_control(cache: &ServedCache) -> CacheControl {
    let scope = if cache.public { CacheDirective::Public } else { CacheDirective::Private };
    let immutable = CacheDirective::Extension("immutable".to_owned(), None);
    CacheControl(vec![scope, CacheDirective::MaxAge(MAX_AGE), immutable])
}
