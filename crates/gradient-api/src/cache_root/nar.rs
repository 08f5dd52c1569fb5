use std::ops::Range;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    http::{
        Method, StatusCode,
        header::{self, CacheControl, CacheDirective, ETag, EntityTag},
    },
    web,
};
use gradient_engine::CachedNar;
use gradient_nix::NarHash;
use serde::Deserialize;

use super::{pull::Pull, refusal::Refusal};
use crate::files::{Unsent, Wanted, content_range, wanted};

/// How long others may keep a NAR, in seconds: a year, as it never changes.
const MAX_AGE: u32 = 31_536_000;

/// Which NAR, by its hash.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    hash: String,
}

/// Sends a NAR, or a part of it.
///
/// It never changes: it may be kept for ever. `Range`, `If-Range` and `If-None-Match` work.
#[utoipa::path(
    method(get, head),
    path = "/nar/{hash}.nar.zst",
    responses(
        (status = 200, description = "The NAR, compressed with zstd.", body = [u8], content_type = "application/x-nix-nar"),
        (status = 206, description = "A part of it.", body = [u8], content_type = "application/x-nix-nar"),
        (status = 304, description = "The client has it."),
        (status = 416, description = "It has no such part."),
    )
)]
pub(super) async fn nar(pull: Pull, request: HttpRequest, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    let hash = NarHash::from_nix32(&address.hash).map_err(|_| pull.not_found())?;
    let nar = pull.engine.cached_nar(&pull.cache, hash).await.map_err(pull.failed())?;
    let nar = nar.ok_or_else(|| pull.not_found())?;
    let tag = EntityTag::new_strong(nar.file_hash.to_nix32());
    let (status, range) = match wanted(&request, &tag, nar.file_size) {
        Wanted::Nothing => return Ok(head(StatusCode::NOT_MODIFIED, &pull, tag).finish()),
        Wanted::Unsatisfiable => {
            let mut response = head(StatusCode::RANGE_NOT_SATISFIABLE, &pull, tag);
            return Ok(response.insert_header(content_range(None, nar.file_size)).finish());
        }
        Wanted::All => (StatusCode::OK, 0..nar.file_size),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    let mut response = head(status, &pull, tag);
    response.content_type("application/x-nix-nar");
    if status == StatusCode::PARTIAL_CONTENT {
        response.insert_header(content_range(Some(&range), nar.file_size));
    }
    if *request.method() == Method::HEAD {
        return Ok(response.body(Unsent(range.end - range.start)));
    }
    send(&pull, &nar, range, response).await
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

fn head(status: StatusCode, pull: &Pull, tag: EntityTag) -> HttpResponseBuilder {
    let scope = if pull.cache.public { CacheDirective::Public } else { CacheDirective::Private };
    let immutable = CacheDirective::Extension("immutable".to_owned(), None);
    let mut response = HttpResponse::build(status);
    response.insert_header(CacheControl(vec![scope, CacheDirective::MaxAge(MAX_AGE), immutable]));
    response.insert_header((header::ACCEPT_RANGES, "bytes"));
    response.insert_header(ETag(tag));
    response
}
