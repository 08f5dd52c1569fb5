use actix_web::{HttpRequest, HttpResponse, http::header::CacheDirective, web};
use gradient_nix::StorePathHash;
use serde::Deserialize;

use super::{pull::Pull, refusal::Refusal};
use crate::files::{self, Disposition, Terms};

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
            body = [u8], content_type = "*/*"),
        (status = 206, description = "A part of the file.", body = [u8], content_type = "*/*"),
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
            body = [u8], content_type = "*/*"),
        (status = 206, description = "A part of the file.", body = [u8], content_type = "*/*"),
        (status = 304, description = "The client has it."),
        (status = 416, description = "The file has no such part."),
    )
)]
pub(super) async fn serve(pull: Pull, request: HttpRequest, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    let Address { hash, path } = address.into_inner();
    let hash = hash.parse::<StorePathHash>().map_err(|_| pull.not_found())?;
    let found = pull.engine.cached_artefact(&pull.cache, hash, path).await.map_err(pull.failed())?;
    let artefact = found.ok_or_else(|| pull.not_found())?;
    let keepers = if pull.cache.public { CacheDirective::Public } else { CacheDirective::Private };
    let terms = Terms { keepers, disposition: Disposition::Show };
    let answer = files::answer(&pull.engine, &request, artefact, &terms).await.map_err(pull.failed())?;
    answer.ok_or_else(|| pull.not_found())
}
