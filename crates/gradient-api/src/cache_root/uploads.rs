//! What `nix copy --to` sends beside NARs, narinfos and logs, and what it does not.

use actix_web::{HttpResponse, web};
use gradient_domain::ChunkedUploadId;
use gradient_nix::StorePathHash;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    nar::parse_name,
    push::{Push, Sent},
    refusal::{Form, Refusal},
};
use crate::{ApiError, body::Body};

/// The most hashes of a question for missing paths.
const MAX_HASHES: usize = 10_000;

/// Hashes of store paths.
#[derive(Deserialize, ToSchema)]
pub(super) struct AskedPaths {
    /// The first 32 characters of each path's name, at most 10,000.
    #[schema(value_type = Vec<String>, max_items = 10_000, example = json!(["00bgd045z0d4icpbc2yyz4gx48ak44la"]))]
    paths: Vec<StorePathHash>,
}

/// Those of them that are missing.
#[derive(Serialize, ToSchema)]
pub(super) struct MissingPaths {
    /// In the order in which they were asked for.
    #[schema(value_type = Vec<String>, example = json!(["00bgd045z0d4icpbc2yyz4gx48ak44la"]))]
    missing: Vec<StorePathHash>,
}

/// Tells which store paths neither the cache nor an upstream of it serves, so that a push asks once.
///
/// Upstreams are asked for at most 20 seconds; what they have not said by then is taken for missing.
#[utoipa::path(
    post,
    path = "/get-missing-paths",
    responses((status = 200, description = "Those that are missing.", body = MissingPaths))
)]
pub(super) async fn get_missing_paths(push: Push, body: Body<AskedPaths>) -> Result<HttpResponse, Refusal> {
    let refused = |error| Refusal::new(error, Form::Json);
    let AskedPaths { paths } = body.read().map_err(refused)?;
    if paths.len() > MAX_HASHES {
        return Err(refused(ApiError::bad_request(format!("paths: at most {MAX_HASHES} at a time"))));
    }
    let missing = push.engine.missing_from_cache(&push.cache, &push.uploader, paths).await;
    Ok(HttpResponse::Ok().json(MissingPaths { missing: missing.map_err(|error| refused(error.into()))? }))
}

/// An upload that is to begin.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewUpload {
    /// The NAR's file, as a narinfo names it: `nar/<hash>.nar` with an extension for its compression.
    #[schema(example = "nar/1xsjkazpfgyyy38br89kz2plvdb4dkqcjl5mh0n2py3ndf0sc48j.nar.xz")]
    path: String,
}

/// An upload that has begun.
#[derive(Serialize, ToSchema)]
pub(super) struct BegunUpload {
    id: ChunkedUploadId,
    /// How large each piece should be at most.
    #[schema(example = 33_554_432)]
    chunk_bytes: u64,
}

/// How far an upload has come.
#[derive(Serialize, ToSchema)]
pub(super) struct UploadProgress {
    /// The bytes that have come: where the next piece begins.
    offset: u64,
}

/// Which upload.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    id: ChunkedUploadId,
}

/// Where a piece begins.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PieceQuery {
    /// The byte that the piece begins with: as many as have come before.
    offset: u64,
}

/// The header that tells how far an upload has come.
const OFFSET_HEADER: &str = "upload-offset";

fn progress(offset: u64) -> HttpResponse {
    HttpResponse::Ok().insert_header((OFFSET_HEADER, offset.to_string())).json(UploadProgress { offset })
}

/// Begins an upload of a NAR in pieces, for bodies that a proxy on the way would cut.
///
/// An upload that is not finished within 24 hours is removed. A user can have 64 on the way to a cache.
#[utoipa::path(post, path = "/uploads", responses((status = 200, description = "It has begun.", body = BegunUpload)))]
pub(super) async fn begin(push: Push, body: Body<NewUpload>) -> Result<HttpResponse, Refusal> {
    let refused = |error| Refusal::new(error, Form::Json);
    let NewUpload { path } = body.read().map_err(refused)?;
    let name = path.strip_prefix("nar/").unwrap_or(&path);
    let name = parse_name(name).map_err(refused)?;
    let begun = push.engine.begin_chunked(&push.cache, &push.uploader, name).await;
    let begun = begun.map_err(|error| refused(error.into()))?;
    Ok(HttpResponse::Ok().json(BegunUpload { id: begun.id, chunk_bytes: begun.chunk_bytes }))
}

/// Tells how far an upload has come.
///
/// `HEAD` tells it in the header `Upload-Offset`.
#[utoipa::path(
    method(get, head),
    path = "/uploads/{id}",
    responses((status = 200, description = "How far it has come.", body = UploadProgress))
)]
pub(super) async fn offset(push: Push, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    let offset = push.engine.chunked_offset(&push.cache, &push.uploader, address.id).await.map_err(push.failed())?;
    Ok(progress(offset))
}

/// Sends the next piece of an upload.
///
/// What came of a piece that broke off is kept.
#[utoipa::path(
    put,
    path = "/uploads/{id}",
    params(PieceQuery),
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses((status = 200, description = "How far it has come.", body = UploadProgress))
)]
pub(super) async fn piece(
    push: Push,
    address: web::Path<Address>,
    query: Result<web::Query<PieceQuery>, actix_web::Error>,
    sent: Sent,
) -> Result<HttpResponse, Refusal> {
    let expected = "the query has to be offset=<bytes that have come>";
    let query = query.map_err(|_| push.refused(ApiError::bad_request(expected)))?;
    let (cache, uploader) = (&push.cache, &push.uploader);
    let written = push.engine.write_chunk(cache, uploader, address.id, query.offset, sent.stream()).await;
    Ok(progress(written.map_err(push.failed())?))
}

/// Makes a NAR of the pieces, as if it had been sent at once.
#[utoipa::path(
    post,
    path = "/uploads/{id}/finish",
    responses((status = 200, description = "The NAR is there. Its narinfo may come."))
)]
pub(super) async fn finish(push: Push, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    push.engine.finish_chunked(&push.cache, &push.uploader, address.id).await.map_err(push.failed())?;
    Ok(HttpResponse::Ok().finish())
}

/// Gives an upload up.
#[utoipa::path(delete, path = "/uploads/{id}", responses((status = 200, description = "It is gone.")))]
pub(super) async fn give_up(push: Push, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    push.engine.delete_chunked(&push.cache, &push.uploader, address.id).await.map_err(push.failed())?;
    Ok(HttpResponse::Ok().finish())
}

/// Takes what Nix says of a new cache, and keeps its own: the body is thrown away.
#[utoipa::path(
    put,
    path = "/nix-cache-info",
    responses((status = 200, description = "Nothing changes."))
)]
pub(super) async fn put_nix_cache_info(push: Push, sent: Sent) -> Result<HttpResponse, Refusal> {
    discard(push, sent).await
}

/// Takes the listing of a NAR, and keeps the one that the server made of it: the body is thrown away.
#[utoipa::path(
    put,
    path = "/{hash}.ls",
    responses((status = 200, description = "Nothing changes: the server lists what is in a NAR while it checks it."))
)]
pub(super) async fn put_listing(push: Push, sent: Sent) -> Result<HttpResponse, Refusal> {
    discard(push, sent).await
}

/// Takes where debugging information is, and keeps what the server found in the NAR: the body is thrown away.
#[utoipa::path(
    put,
    path = "/debuginfo/{file}",
    responses((status = 200, description = "Nothing changes: the server finds build ids in a NAR while it checks it."))
)]
pub(super) async fn put_debuginfo(push: Push, sent: Sent) -> Result<HttpResponse, Refusal> {
    discard(push, sent).await
}

/// The most bytes of what is only read to be thrown away: the listing of the largest NAR.
const MAX_DISCARDED: u64 = 512 << 20;

async fn discard(push: Push, sent: Sent) -> Result<HttpResponse, Refusal> {
    sent.discard(MAX_DISCARDED).await.map_err(push.failed())?;
    Ok(HttpResponse::Ok().finish())
}
