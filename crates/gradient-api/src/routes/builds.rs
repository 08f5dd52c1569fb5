//! `/builds/{id}`: a build, its log, and what it is made from.

mod view;

use actix_web::{HttpResponse, http::Method, web};
use futures_util::StreamExt;
use gradient_domain::Epoch;
use gradient_engine::{Engine, MAX_READ};
use serde::Deserialize;

use crate::{
    ApiError,
    envelope::Answer,
    ndjson,
    routes::resource,
    scope::{BuildScope, ViewOrg},
};

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/builds/{id}", [(Method::GET, web::to(show))]))
        .service(resource("/builds/{id}/log", [(Method::GET, web::to(log)), (Method::POST, web::to(follow_log))]))
        .service(resource("/builds/{id}/graph", [(Method::GET, web::to(graph))]))
        .service(resource("/builds/{id}/dependencies", [(Method::GET, web::to(dependencies))]));
}

async fn show(scope: BuildScope<ViewOrg>, engine: web::Data<Engine>) -> Result<Answer<view::BuildBody>, ApiError> {
    Ok(Answer(view::BuildBody::from(engine.build(scope.build).await?)))
}

#[derive(Debug, Deserialize)]
struct LogQuery {
    attempt: Option<u32>,
    offset: Option<u64>,
    limit: Option<u64>,
}

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

async fn follow_log(scope: BuildScope<ViewOrg>, engine: web::Data<Engine>) -> HttpResponse {
    let pieces = engine.follow_log(scope.build).map(|piece| {
        piece.map(|bytes| {
            let mut line = Vec::new();
            ndjson::push(&mut line, &String::from_utf8_lossy(&bytes));
            line.into()
        })
    });
    ndjson::stream(pieces)
}

#[derive(Debug, Deserialize)]
struct GraphQuery {
    limit: Option<usize>,
}

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
