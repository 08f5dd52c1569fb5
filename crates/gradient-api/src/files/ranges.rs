//! What part of a file a request wants.

use std::{
    convert::Infallible,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage, HttpRequest,
    body::{BodySize, MessageBody},
    http::{
        Method,
        header::{self, ByteRangeSpec, ContentRange, ContentRangeSpec, EntityTag, IfNoneMatch, IfRange},
    },
};
use bytes::Bytes;

/// The part that an answer has, of how much; without one, that there is no such part.
pub(crate) fn content_range(range: Option<&Range<u64>>, size: u64) -> ContentRange {
    let range = range.map(|range| (range.start, range.end.saturating_sub(1)));
    ContentRange(ContentRangeSpec::Bytes { range, instance_length: Some(size) })
}

/// What a request wants of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    Part(Range<u64>),
    /// The client has it already.
    Nothing,
    /// A part that the file does not have.
    Unsatisfiable,
}

/// RFC 9110, 13.2.2 and 14.2: a `Range` that is not understood, has several parts, or is of another version of the file, means
/// the whole file.
pub(crate) fn wanted(request: &HttpRequest, tag: &EntityTag, size: u64) -> Wanted {
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
pub(crate) struct Unsent(pub(crate) u64);

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
