//! Who may download what a build offers.

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use gradient_auth::Caller;
use gradient_domain::BuildId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{BuildScope, Extracting, ViewOrg, engine, segment};
use crate::{
    ApiError,
    openapi::{Describe, Description},
};

/// The build of the path's `{id}`, for those who may see it and for those who bring a token for its downloads.
pub(crate) struct DownloadScope {
    pub(crate) build: BuildId,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Query {
    /// A token for the build's downloads; with it nobody has to sign in.
    token: Option<String>,
}

impl FromRequest for DownloadScope {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let query = web::Query::<Query>::from_query(request.query_string());
        let Ok(query) = query else {
            return Box::pin(async { Err(ApiError::bad_request("the query cannot be read; expected at most one `token`")) });
        };
        if let Some(token) = query.into_inner().token {
            return Box::pin(with_token(request.clone(), token));
        }
        let scope = BuildScope::<ViewOrg>::from_request(request, payload);
        Box::pin(async move { Ok(Self { build: scope.await?.build }) })
    }
}

impl Describe for DownloadScope {
    fn describe(description: &mut Description) {
        BuildScope::<ViewOrg>::describe(description);
        web::Query::<Query>::describe(description);
    }
}

/// A token for another build is as good as none.
async fn with_token(request: HttpRequest, token: String) -> Result<DownloadScope, ApiError> {
    let engine = engine(&request)?;
    let build = engine.verify_download_token(&token)?;
    if segment(&request, "id") != Some(build) {
        return Err(ApiError::unauthorized());
    }
    let missing = || ApiError::not_found("there is no such build");
    let organization = engine.build_organization(build).await?.ok_or_else(missing)?;
    // The organization may be gone since the token was made.
    engine.organization_by_id(&Caller::Anonymous, organization).await?.ok_or_else(missing)?;
    Ok(DownloadScope { build })
}
