//! `/builds/{id}`: a build, its log, and what it is made from.

mod downloads;
mod view;
mod why;

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use gradient_domain::Epoch;
use gradient_engine::{Engine, MAX_READ};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    ApiError,
    endpoints::{Endpoints, endpoints},
    envelope::Answer,
    ndjson,
    scope::{BuildScope, ViewOrg, revoked},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Builds:
        show;
        log;
        follow_log;
        graph;
        dependencies;
        downloads::downloads;
        downloads::download;
        downloads::download_token;
        why::why;
    }
}

/// Shows a build with its outputs.
#[utoipa::path(get, path = "/builds/{id}")]
async fn show(scope: BuildScope<ViewOrg>, engine: web::Data<Engine>) -> Result<Answer<view::BuildBody>, ApiError> {
    Ok(Answer(view::BuildBody::from(engine.build(scope.build).await?)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogQuery {
    /// Which attempt's, counted from 1; the last one's where nothing is said.
    #[param(maximum = 4_294_967_295_u32)]
    attempt: Option<u32>,
    /// How many bytes are left out at the beginning.
    #[param(maximum = 18_446_744_073_709_551_615_u64)]
    offset: Option<u64>,
    /// How many bytes are shown, at most 8 MiB.
    #[param(maximum = 18_446_744_073_709_551_615_u64)]
    limit: Option<u64>,
}

/// Shows the log of a build, or a part of it.
///
/// An answer has at most 8 MiB. What is no UTF-8 is replaced, and no code point is cut.
#[utoipa::path(get, path = "/builds/{id}/log")]
async fn log(
    scope: BuildScope<ViewOrg>,
    query: web::Query<LogQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<String>, ApiError> {
    let (offset, limit) = (query.offset.unwrap_or(0), query.limit.unwrap_or(MAX_READ).min(MAX_READ));
    let part = engine.log(scope.build, query.attempt.map(Epoch), offset, limit + 3).await?;
    match (part, query.attempt) {
        (Some(part), _) => Ok(Answer(text(&part.bytes, offset, limit))),
        (None, Some(attempt)) => Err(ApiError::not_found(format!("there is no attempt {attempt} of this build"))),
        // Nobody has tried yet: that is an empty log.
        (None, None) => Ok(Answer(String::new())),
    }
}

/// The text of the `limit` bytes from `offset` on, out of up to three bytes more: a code point belongs to the part that it begins
/// in. What is no UTF-8 is replaced.
fn text(bytes: &[u8], offset: u64, limit: u64) -> String {
    let continues = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
    let begun_before = if offset == 0 { 0 } else { bytes.iter().take(3).take_while(continues).count() };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(bytes.len());
    let begun_within = bytes.iter().skip(limit).take(3).take_while(continues).count();
    String::from_utf8_lossy(bytes.get(begun_before..limit + begun_within).unwrap_or_default()).into_owned()
}

/// Streams the log of a build, until it ends.
///
/// Each line is a JSON string: a piece of the log. What is stored comes first. It also ends when the caller may not see it any more.
#[utoipa::path(
    post,
    path = "/builds/{id}/log",
    responses((status = 200, description = "JSON strings, one a line.", body = String, content_type = "application/x-ndjson"))
)]
async fn follow_log(scope: BuildScope<ViewOrg>, request: HttpRequest, engine: web::Data<Engine>) -> HttpResponse {
    let pieces = engine.follow_log(scope.build).map(|piece| {
        piece.map(|bytes| {
            let mut line = Vec::new();
            ndjson::push(&mut line, &String::from_utf8_lossy(&bytes));
            line.into()
        })
    });
    ndjson::stream(pieces.take_until(Box::pin(revoked::<BuildScope<ViewOrg>>(request))))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GraphQuery {
    /// How many builds are shown.
    #[param(minimum = 1, maximum = 10_000, default = 500)]
    limit: Option<usize>,
}

/// Shows what a build is made from, and that from what, breadth first.
#[utoipa::path(get, path = "/builds/{id}/graph")]
async fn graph(
    scope: BuildScope<ViewOrg>,
    query: web::Query<GraphQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<view::GraphBody>, ApiError> {
    let limit = query.limit.unwrap_or(500);
    if !(1..=10_000).contains(&limit) {
        return Err(ApiError::bad_request("limit has to be from 1 to 10000"));
    }
    let graph = engine.build_graph(scope.build, limit).await?;
    Ok(Answer(view::GraphBody::new(scope.build, graph)))
}

/// Lists what a build is directly made from.
#[utoipa::path(get, path = "/builds/{id}/dependencies")]
async fn dependencies(scope: BuildScope<ViewOrg>, engine: web::Data<Engine>) -> Result<Answer<Vec<view::NodeBody>>, ApiError> {
    let dependencies = engine.build_dependencies(scope.build).await?;
    Ok(Answer(dependencies.into_iter().map(view::NodeBody::from).collect()))
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_code_point_belongs_to_the_part_it_begins_in() {
        let log = "aé€b\u{10348}".as_bytes();
        for limit in 1..=log.len() {
            let part = |offset: usize| text(&log[offset..log.len().min(offset + limit + 3)], offset as u64, limit as u64);
            let parts: String = (0..log.len()).step_by(limit).map(part).collect();
            assert_eq!(parts.as_bytes(), log, "in parts of {limit}");
        }
    }

    #[test]
    fn what_is_no_utf8_is_replaced() {
        assert_eq!(text(b"a\xffb", 0, 3), "a\u{fffd}b");
    }
}
