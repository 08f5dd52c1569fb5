use std::{
    convert::Infallible,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody, SizedStream},
    http::{
        Method, StatusCode,
        header::{
            self, ByteRangeSpec, CacheControl, CacheDirective, ContentRange, ContentRangeSpec, ETag, EntityTag, IfNoneMatch,
            IfRange,
        },
    },
    web,
};
use bytes::Bytes;
use gradient_engine::CachedNar;
use gradient_nix::NarHash;
use serde::Deserialize;

use super::{pull::Pull, refusal::Refusal};

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
    let mut nar = pull.engine.cached_nar(&pull.cache, hash).await.map_err(pull.failed())?;
    if nar.is_none() && pull.looks_further {
        nar = pull.engine.upstream_nar(&pull.cache, &pull.caller, hash).await.map_err(pull.failed())?;
    }
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

pub(super) fn content_range(range: Option<&Range<u64>>, size: u64) -> ContentRange {
    let range = range.map(|range| (range.start, range.end.saturating_sub(1)));
    ContentRange(ContentRangeSpec::Bytes { range, instance_length: Some(size) })
}

/// What a request wants of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    Part(Range<u64>),
    /// The client has it already.
    Nothing,
    /// A part that the file does not have.
    Unsatisfiable,
}

/// RFC 9110, 13.2.2 and 14.2: a `Range` that is not understood, has several parts, or is of another version of the file, means
/// the whole file.
pub(super) fn wanted(request: &HttpRequest, tag: &EntityTag, size: u64) -> Wanted {
    let has_it = match request.get_header::<IfNoneMatch>() {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(tags)) => tags.iter().any(|other| other.weak_eq(tag)),
        None => false,
    };
    if has_it {
        return Wanted::Nothing;
    }
    let is_other = match request.get_header::<IfRange>() {
        Some(IfRange::EntityTag(other)) => !other.strong_eq(tag),
        Some(IfRange::Date(_)) => true,
        None => false,
    };
    let header::Range::Bytes(ranges) = (match request.get_header::<header::Range>() {
        Some(range) if *request.method() == Method::GET && !is_other => range,
        _ => return Wanted::All,
    }) else {
        return Wanted::All;
    };
    match ranges.as_slice() {
        [range] => part(range, size),
        _ => Wanted::All,
    }
}

fn part(range: &ByteRangeSpec, size: u64) -> Wanted {
    match range.to_satisfiable_range(size) {
        Some((first, last)) => Wanted::Part(first..last + 1),
        None => Wanted::Unsatisfiable,
    }
}

/// The body of an answer to `HEAD`: its size is told, none of it is read.
pub(super) struct Unsent(pub(super) u64);

impl MessageBody for Unsent {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn check(headers: &[(&str, &str)], expected: &Wanted) {
        let request = headers.iter().fold(TestRequest::get(), |request, header| request.insert_header(*header));
        let tag = EntityTag::new_strong("t".to_owned());
        assert_eq!(wanted(&request.to_http_request(), &tag, 100), *expected, "{headers:?}");
    }

    #[test]
    fn a_range_is_a_part_of_the_file_or_refused() {
        check(&[], &Wanted::All);
        check(&[("range", "bytes=10-19")], &Wanted::Part(10..20));
        check(&[("range", "bytes=10-")], &Wanted::Part(10..100));
        check(&[("range", "bytes=-10")], &Wanted::Part(90..100));
        check(&[("range", "bytes=-1000")], &Wanted::Part(0..100));
        check(&[("range", "bytes=99-1000")], &Wanted::Part(99..100));
        check(&[("range", "bytes=100-")], &Wanted::Unsatisfiable);
        check(&[("range", "bytes=-0")], &Wanted::Unsatisfiable);
        check(&[("range", "bytes=0-1,5-6")], &Wanted::All);
        check(&[("range", "bytes=19-10")], &Wanted::All);
        check(&[("range", "lines=1-2")], &Wanted::All);
        check(&[("range", "nonsense")], &Wanted::All);
    }

    #[test]
    fn conditions_come_before_the_range() {
        check(&[("if-none-match", "\"t\""), ("range", "bytes=0-1")], &Wanted::Nothing);
        check(&[("if-none-match", "\"x\", W/\"t\"")], &Wanted::Nothing);
        check(&[("if-none-match", "*")], &Wanted::Nothing);
        check(&[("if-none-match", "\"x\"")], &Wanted::All);
        check(&[("if-range", "\"t\""), ("range", "bytes=0-1")], &Wanted::Part(0..2));
        check(&[("if-range", "\"x\""), ("range", "bytes=0-1")], &Wanted::All);
        check(&[("if-range", "W/\"t\""), ("range", "bytes=0-1")], &Wanted::All);
    }
}
