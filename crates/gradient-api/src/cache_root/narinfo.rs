use std::convert::Infallible;

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodyStream, SizedStream},
    http::{
        Method,
        header::{self, AcceptEncoding, ContentType, Encoding, Header},
    },
    web,
};
use bytes::Bytes;
use futures_util::stream;
use gradient_cache_protocol::narinfo::CONTENT_TYPE;
use gradient_engine::PathUpload;
use gradient_nix::StorePathHash;
use serde::Deserialize;

use super::{
    pull::Pull,
    push::{Push, Sent},
    refusal::{Form, Refusal},
};
use crate::{ApiError, files::Unsent, patience::while_read_fast_enough};

/// The most bytes of a narinfo.
const MAX_NARINFO_BYTES: usize = 1 << 20;

/// Which path, by the first 32 characters of its name.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    hash: String,
}

impl Address {
    fn parse(&self, pull: &Pull) -> Result<StorePathHash, Refusal> {
        self.hash.parse().map_err(|_| pull.not_found())
    }
}

/// Shows what the cache says of a store path, signed.
///
/// As Nix reads it, or as JSON.
#[utoipa::path(
    method(get, head),
    path = "/{hash}.narinfo",
    params(("json" = Option<String>, Query, description = "When it is there, with any value or none, the answer is JSON.")),
    responses((status = 200, description = "The path's metadata.", content(
        (String = "text/x-nix-narinfo"),
        (Object = "application/json", example = json!({
            "StorePath": "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-hello-2.12.1",
            "URL": "nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.zst",
        })),
    )))
)]
pub(super) async fn narinfo(pull: Pull, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    let hash = address.parse(&pull)?;
    match pull.form {
        Form::Text => {
            let mut text = pull.engine.narinfo(&pull.cache, hash).await.map_err(pull.failed())?;
            if text.is_none() && pull.looks_further {
                text = pull.engine.upstream_narinfo(&pull.cache, &pull.caller, hash).await.map_err(pull.failed())?;
            }
            Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text.ok_or_else(|| pull.not_found())?))
        }
        Form::Json => {
            let mut json = pull.engine.narinfo_json(&pull.cache, hash).await.map_err(pull.failed())?;
            if json.is_none() && pull.looks_further {
                json = pull.engine.upstream_narinfo_json(&pull.cache, &pull.caller, hash).await.map_err(pull.failed())?;
            }
            Ok(HttpResponse::Ok().json(json.ok_or_else(|| pull.not_found())?))
        }
    }
}

/// Makes an uploaded NAR the content of a store path.
///
/// Everything that the narinfo says is compared with the NAR. Readers see the path when all that it refers to can be served, here or
/// in an upstream; until then it is pending, for at most 24 hours. The cache signs with its own key and keeps up to eight other
/// signatures. When it has the path already, only those are added.
#[utoipa::path(
    put,
    path = "/{hash}.narinfo",
    request_body(content = String, content_type = "text/x-nix-narinfo"),
    responses((status = 200, description = "The path is published, or is pending; the text says which.",
        body = String, content_type = "text/plain", example = "published\n"))
)]
pub(super) async fn put_narinfo(push: Push, address: web::Path<Address>, sent: Sent) -> Result<HttpResponse, Refusal> {
    let hash = address.hash.parse().map_err(|_| push.refused(ApiError::bad_request("this is no hash of a store path")))?;
    let (body, encoding) = sent.all(MAX_NARINFO_BYTES).await.map_err(push.failed())?;
    let became =
        push.engine.upload_path(&push.cache, &push.uploader, hash, body.bytes(), &encoding).await.map_err(push.failed())?;
    let text = match became {
        PathUpload::Published => "published\n".to_owned(),
        PathUpload::Pending(missing) => {
            let first: Vec<_> = missing.iter().take(10).map(ToString::to_string).collect();
            let more = if missing.len() > first.len() { " and others" } else { "" };
            format!("pending: it refers to what this cache and its upstreams do not have: {}{more}\n", first.join(" "))
        }
    };
    Ok(HttpResponse::Ok().content_type(ContentType::plaintext()).body(text))
}

/// Lists what is in a store path, with the places of the files in its NAR.
#[utoipa::path(
    method(get, head),
    path = "/ls/{hash}",
    responses((status = 200, description = "A listing of version 1.", content(
        (Object = "application/json", example = json!({"version": 1, "root": {"type": "directory", "entries": {
            "hello": {"type": "regular", "size": 21, "executable": true, "narOffset": 408}
        }}})),
    )))
)]
pub(super) async fn listing(pull: Pull, request: HttpRequest, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    let hash = address.parse(&pull)?;
    let listing = pull.engine.cached_listing(&pull.cache, hash).await.map_err(pull.failed())?;
    let listing = listing.ok_or_else(|| pull.not_found())?;
    let is_head = *request.method() == Method::HEAD;
    let mut response = HttpResponse::Ok();
    response.content_type(ContentType::json()).insert_header((header::VARY, "accept-encoding"));
    if takes_zstd(&request) {
        let size = listing.compressed_size();
        response.insert_header((header::CONTENT_ENCODING, "zstd"));
        return Ok(if is_head {
            response.body(Unsent(size))
        } else {
            response.body(SizedStream::new(size, while_read_fast_enough(listing.compressed())))
        });
    }
    if is_head {
        return Ok(response.body(BodyStream::new(stream::empty::<Result<Bytes, Infallible>>())));
    }
    let json = listing.json().map_err(pull.failed())?;
    Ok(response.body(BodyStream::new(while_read_fast_enough(json))))
}

/// Whether the client has asked for what is compressed as listings are stored.
fn takes_zstd(request: &HttpRequest) -> bool {
    let offered = [Encoding::identity(), Encoding::zstd()];
    let accepted = AcceptEncoding::parse(request).ok();
    accepted.and_then(|accepted| accepted.negotiate(offered.iter())).is_some_and(|encoding| encoding == Encoding::zstd())
}

/// Lists what is in a store path, where other tools look for it.
#[utoipa::path(
    method(get, head),
    path = "/{hash}.ls",
    responses((status = 200, description = "A listing of version 1.", content(
        (Object = "application/json", example = json!({"version": 1, "root": {"type": "directory", "entries": {
            "hello": {"type": "regular", "size": 21, "executable": true, "narOffset": 408}
        }}})),
    )))
)]
pub(super) async fn listing_beside(
    pull: Pull,
    request: HttpRequest,
    address: web::Path<Address>,
) -> Result<HttpResponse, Refusal> {
    listing(pull, request, address).await
}
