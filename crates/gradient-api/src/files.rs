//! Files and directories out of stored NARs, as answers. They are foreign contents on our own origin: sent, but neither run nor
//! guessed at.

mod names;
mod ranges;

use std::{convert::Infallible, io, ops::Range};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodyStream, SizedStream},
    http::{
        Method, StatusCode,
        header::{self, CacheControl, CacheDirective, ETag, EntityTag},
    },
};
use bytes::Bytes;
use futures_util::stream;
use gradient_engine::{Artefact, ArtefactKind, Engine, EngineError};

use crate::patience::while_read_fast_enough;

pub(crate) use ranges::{Unsent, Wanted, content_range, wanted};

/// How long others may keep a file, in seconds: an hour, as a path that is removed may come back with other contents.
const MAX_AGE: u32 = 3600;

/// How a file is sent.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Who may keep it.
    pub(crate) keepers: CacheDirective,
    /// What a browser is to do with it.
    pub(crate) disposition: Disposition,
}

/// What a browser is to do with a file; a directory is always saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    Show,
    Save,
}

/// A file or a part of it, or a directory as an archive. `None` when it has gone since it was found.
pub(crate) async fn answer(
    engine: &Engine,
    request: &HttpRequest,
    artefact: Artefact,
    terms: &Terms,
) -> Result<Option<HttpResponse>, EngineError> {
    match artefact.kind {
        ArtefactKind::File(size) => file(engine, request, artefact, size, terms).await,
        ArtefactKind::Directory => directory(engine, request, artefact, terms).await,
    }
}

async fn file(
    engine: &Engine,
    request: &HttpRequest,
    artefact: Artefact,
    size: u64,
    terms: &Terms,
) -> Result<Option<HttpResponse>, EngineError> {
    let tag = EntityTag::new_strong(artefact.nar_hash.to_nix32());
    let (status, range) = match wanted(request, &tag, size) {
        Wanted::Nothing => return Ok(Some(head(StatusCode::NOT_MODIFIED, terms, tag).finish())),
        Wanted::Unsatisfiable => {
            let mut response = head(StatusCode::RANGE_NOT_SATISFIABLE, terms, tag);
            return Ok(Some(response.insert_header(content_range(None, size)).finish()));
        }
        Wanted::All => (StatusCode::OK, 0..size),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    let mut response = head(status, terms, tag);
    response.insert_header((header::ACCEPT_RANGES, "bytes")).content_type(names::media_type(&artefact.name));
    if terms.disposition == Disposition::Save {
        response.insert_header((header::CONTENT_DISPOSITION, names::attachment(&artefact.name)));
    }
    if status == StatusCode::PARTIAL_CONTENT {
        response.insert_header(content_range(Some(&range), size));
    }
    let length = range.end.saturating_sub(range.start);
    if *request.method() == Method::HEAD {
        return Ok(Some(response.body(Unsent(length))));
    }
    Ok(open(engine, artefact, range).await?.map(|stream| response.body(SizedStream::new(length, stream))))
}

async fn directory(
    engine: &Engine,
    request: &HttpRequest,
    artefact: Artefact,
    terms: &Terms,
) -> Result<Option<HttpResponse>, EngineError> {
    // Weak: another version of the compressor makes other bytes of it.
    let tag = EntityTag::new_weak(artefact.nar_hash.to_nix32());
    if wanted(request, &tag, 0) == Wanted::Nothing {
        return Ok(Some(head(StatusCode::NOT_MODIFIED, terms, tag).finish()));
    }
    let mut response = head(StatusCode::OK, terms, tag);
    let disposition = names::attachment(&format!("{}.tar.zst", artefact.name));
    response.content_type("application/zstd").insert_header((header::CONTENT_DISPOSITION, disposition));
    if *request.method() == Method::HEAD {
        return Ok(Some(response.body(BodyStream::new(stream::empty::<Result<Bytes, Infallible>>()))));
    }
    Ok(open(engine, artefact, 0..0).await?.map(|stream| response.body(BodyStream::new(stream))))
}

type Contents = stream::BoxStream<'static, io::Result<Bytes>>;

async fn open(engine: &Engine, artefact: Artefact, range: Range<u64>) -> Result<Option<Contents>, EngineError> {
    Ok(engine.open_artefact(artefact, range).await?.map(while_read_fast_enough))
}

fn head(status: StatusCode, terms: &Terms, tag: EntityTag) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header(CacheControl(vec![terms.keepers.clone(), CacheDirective::MaxAge(MAX_AGE)]));
    response.insert_header((header::CONTENT_SECURITY_POLICY, "sandbox"));
    response.insert_header(ETag(tag));
    response
}
