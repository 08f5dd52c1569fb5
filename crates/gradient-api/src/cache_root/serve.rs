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
use gradient_engine::{Artefact, ArtefactKind};
use gradient_nix::StorePathHash;
use serde::Deserialize;

use super::{
    nar::{Unsent, Wanted, content_range, wanted},
    pull::Pull,
    refusal::Refusal,
};

/// How long others may keep a file, in seconds: an hour, as a path that is removed may come back with other contents.
const MAX_AGE: u32 = 3600;

/// Which file or directory.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    hash: String,
    #[serde(default)]
    path: String,
}

/// Sends a whole store path.
///
/// As what is inside it is sent.
#[utoipa::path(
    method(get, head),
    path = "/serve/{hash}",
    responses(
        (status = 200, description = "The file's bytes, by its extension's type, or a `tar.zst` of the directory.",
            body = [u8], content_type = "application/octet-stream"),
        (status = 206, description = "A part of the file.", body = [u8], content_type = "application/octet-stream"),
        (status = 304, description = "The client has it."),
        (status = 416, description = "The file has no such part."),
    )
)]
pub(super) async fn serve_root(pull: Pull, request: HttpRequest, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    serve(pull, request, address).await
}

/// Sends a file of a store path, or a directory as an archive.
///
/// Of a file, `Range` works. A symbolic link is followed inside the store path.
#[utoipa::path(
    method(get, head),
    path = "/serve/{hash}/{path:.*}",
    responses(
        (status = 200, description = "The file's bytes, by its extension's type, or a `tar.zst` of the directory.",
            body = [u8], content_type = "application/octet-stream"),
        (status = 206, description = "A part of the file.", body = [u8], content_type = "application/octet-stream"),
        (status = 304, description = "The client has it."),
        (status = 416, description = "The file has no such part."),
    )
)]
pub(super) async fn serve(pull: Pull, request: HttpRequest, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    let Address { hash, path } = address.into_inner();
    let hash = hash.parse::<StorePathHash>().map_err(|_| pull.not_found())?;
    let found = pull.engine.cached_artefact(&pull.cache, hash, path).await.map_err(pull.failed())?;
    let artefact = found.ok_or_else(|| pull.not_found())?;
    match artefact.kind {
        ArtefactKind::File(size) => file(&pull, &request, artefact, size).await,
        ArtefactKind::Directory => directory(&pull, &request, artefact).await,
    }
}

async fn file(pull: &Pull, request: &HttpRequest, artefact: Artefact, size: u64) -> Result<HttpResponse, Refusal> {
    let tag = EntityTag::new_strong(artefact.nar_hash.to_nix32());
    let (status, range) = match wanted(request, &tag, size) {
        Wanted::Nothing => return Ok(head(StatusCode::NOT_MODIFIED, pull, tag).finish()),
        Wanted::Unsatisfiable => {
            let mut response = head(StatusCode::RANGE_NOT_SATISFIABLE, pull, tag);
            return Ok(response.insert_header(content_range(None, size)).finish());
        }
        Wanted::All => (StatusCode::OK, 0..size),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    let mut response = head(status, pull, tag);
    response.insert_header((header::ACCEPT_RANGES, "bytes")).content_type(content_type(&artefact.name));
    if status == StatusCode::PARTIAL_CONTENT {
        response.insert_header(content_range(Some(&range), size));
    }
    let length = range.end.saturating_sub(range.start);
    if *request.method() == Method::HEAD {
        return Ok(response.body(Unsent(length)));
    }
    Ok(response.body(SizedStream::new(length, open(pull, artefact, range).await?)))
}

async fn directory(pull: &Pull, request: &HttpRequest, artefact: Artefact) -> Result<HttpResponse, Refusal> {
    // Weak: another version of the compressor makes other bytes of it.
    let tag = EntityTag::new_weak(artefact.nar_hash.to_nix32());
    if wanted(request, &tag, 0) == Wanted::Nothing {
        return Ok(head(StatusCode::NOT_MODIFIED, pull, tag).finish());
    }
    let mut response = head(StatusCode::OK, pull, tag);
    let disposition = format!("attachment; filename=\"{}.tar.zst\"", plain(&artefact.name));
    response.content_type("application/zstd").insert_header((header::CONTENT_DISPOSITION, disposition));
    if *request.method() == Method::HEAD {
        return Ok(response.body(BodyStream::new(stream::empty::<Result<Bytes, Infallible>>())));
    }
    Ok(response.body(BodyStream::new(open(pull, artefact, 0..0).await?)))
}

async fn open(
    pull: &Pull,
    artefact: Artefact,
    range: Range<u64>,
) -> Result<stream::BoxStream<'static, Result<Bytes, gradient_engine::EngineError>>, Refusal> {
    let stream = pull.engine.open_artefact(artefact, range).await.map_err(pull.failed())?;
    stream.ok_or_else(|| pull.not_found())
}

/// Foreign contents on our own origin: shown, but neither run nor guessed at.
fn head(status: StatusCode, pull: &Pull, tag: EntityTag) -> HttpResponseBuilder {
    let scope = if pull.cache.public { CacheDirective::Public } else { CacheDirective::Private };
    let mut response = HttpResponse::build(status);
    response.insert_header(CacheControl(vec![scope, CacheDirective::MaxAge(MAX_AGE)]));
    response.insert_header((header::CONTENT_SECURITY_POLICY, "sandbox"));
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    response.insert_header(ETag(tag));
    response
}

/// A name that is safe inside quotes, whatever reads it.
fn plain(name: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "+-._=".contains(character);
    name.chars().map(|character| if is_plain(character) { character } else { '_' }).collect()
}

/// What a file is, by its extension; bytes where that says nothing.
fn content_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "css" => "text/css; charset=utf-8",
        "gif" => "image/gif",
        "gz" | "tgz" => "application/gzip",
        "htm" | "html" => "text/html; charset=utf-8",
        "jpeg" | "jpg" => "image/jpeg",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "conf" | "log" | "md" | "nix" | "txt" => "text/plain; charset=utf-8",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "tar" => "application/x-tar",
        "wasm" => "application/wasm",
        "webp" => "image/webp",
        "xml" => "application/xml",
        "xz" => "application/x-xz",
        "zip" => "application/zip",
        "zst" => "application/zstd",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(plain("gcc-14.2+x"), "gcc-14.2+x");
        assert_eq!(plain("a\"; b\r\nc: ü"), "a___b__c___");
    }

    #[test]
    fn extensions_tell_what_a_file_is() {
        assert_eq!(content_type("manual.HTML"), "text/html; charset=utf-8");
        assert_eq!(content_type("x.tar.gz"), "application/gzip");
        for unknown in ["hello", "html", "x.", ".unknown"] {
            assert_eq!(content_type(unknown), "application/octet-stream", "{unknown}");
        }
    }
}
