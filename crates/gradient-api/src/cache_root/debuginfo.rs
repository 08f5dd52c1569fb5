use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{pull::Pull, refusal::Refusal};

/// Which build id, with or without `.debug`.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    file: String,
}

/// Where debugging information is.
#[derive(Serialize, ToSchema)]
pub(super) struct Debuginfo {
    /// The NAR, relative to this.
    #[schema(example = "../nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.zst")]
    archive: String,
    /// The file inside it.
    #[schema(example = "lib/debug/.build-id/ab/cdef0123456789abcdef0123456789abcdef01.debug")]
    member: String,
}

/// Tells where the debugging information of a build id is, in hexadecimal and with or without `.debug`.
#[utoipa::path(
    method(get, head),
    path = "/debuginfo/{file}",
    responses((status = 200, description = "Where it is.", body = Debuginfo))
)]
pub(super) async fn debuginfo(pull: Pull, address: web::Path<Address>) -> Result<HttpResponse, Refusal> {
    let build_id = address.file.strip_suffix(".debug").unwrap_or(&address.file);
    let found = pull.engine.cached_debuginfo(&pull.cache, build_id.to_owned()).await.map_err(pull.failed())?;
    let found = found.ok_or_else(|| pull.not_found())?;
    let archive = format!("../nar/{}.nar.zst", found.nar_hash.to_nix32());
    Ok(HttpResponse::Ok().json(Debuginfo { archive, member: found.member }))
}
