//! What a build offers for download.

use actix_web::{HttpRequest, HttpResponse, http::header::CacheDirective, web};
use gradient_engine::{BuildArtefact, Engine};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ApiError,
    envelope::Answer,
    files::{self, Disposition, Terms},
    scope::{BuildScope, DownloadScope, ViewOrg},
};

/// Something that a build offers for download.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Download, title = "Download")]
pub(super) struct DownloadBody {
    /// What the output says it is: `file`, `doc`, `report` and others.
    #[schema(example = "doc")]
    file_type: String,
    /// What it is more closely; may be empty.
    #[schema(example = "manual")]
    subtype: String,
    /// The name it is downloaded by; no other one of the build has it.
    #[schema(example = "manual.pdf")]
    name: String,
    /// Where it is in the store.
    #[schema(example = "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-manual/share/doc/manual.pdf")]
    path: String,
    /// In bytes; none for a directory, which is sent as `.tar.zst`.
    #[schema(minimum = 0, example = 183_044)]
    size: Option<i64>,
}

impl From<BuildArtefact> for DownloadBody {
    fn from(artefact: BuildArtefact) -> Self {
        let mut path = artefact.store_path.to_absolute();
        if !artefact.subpath.is_empty() {
            path = format!("{path}/{}", artefact.subpath);
        }
        Self { file_type: artefact.file_type, subtype: artefact.subtype, name: artefact.name, path, size: artefact.size }
    }
}

/// Lists what a build offers for download.
///
/// That is what its outputs declare in `nix-support/hydra-build-products`, as far as it is in one of them.
#[utoipa::path(get, path = "/builds/{id}/downloads")]
pub(super) async fn downloads(
    scope: BuildScope<ViewOrg>,
    engine: web::Data<Engine>,
) -> Result<Answer<Vec<DownloadBody>>, ApiError> {
    let downloads = engine.downloads(scope.build).await?;
    Ok(Answer(downloads.into_iter().map(DownloadBody::from).collect()))
}

/// Makes a token for the build's downloads.
///
/// For an hour, whoever has it may download what this build offers, and nothing else: it goes into links, as `?token=`.
#[utoipa::path(get, path = "/builds/{id}/download-token")]
pub(super) async fn download_token(scope: BuildScope<ViewOrg>, engine: web::Data<Engine>) -> Result<Answer<String>, ApiError> {
    Ok(Answer(engine.download_token(scope.build)?.into_inner()))
}

/// Which one.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    filename: String,
}

/// Sends what a build offers by this name.
///
/// It is always to be saved and never shown. Of a file, `Range` works.
#[utoipa::path(
    method(get, head),
    path = "/builds/{id}/download/{filename}",
    responses(
        (status = 200, description = "The file's bytes, by its extension's type, or a `tar.zst` of the directory.",
            body = [u8], content_type = "*/*"),
        (status = 206, description = "A part of the file.", body = [u8], content_type = "*/*"),
        (status = 304, description = "The client has it."),
        (status = 416, description = "The file has no such part."),
    )
)]
pub(super) async fn download(
    scope: DownloadScope,
    request: HttpRequest,
    address: web::Path<Address>,
    engine: web::Data<Engine>,
) -> Result<HttpResponse, ApiError> {
    let filename = address.into_inner().filename;
    let missing = || ApiError::not_found("the build has no such download; `downloads` lists those that it has");
    let artefact = engine.download(scope.build, filename).await?.ok_or_else(missing)?;
    let terms = Terms { keepers: CacheDirective::Private, disposition: Disposition::Save };
    files::answer(&engine, &request, artefact, &terms).await?.ok_or_else(missing)
}
