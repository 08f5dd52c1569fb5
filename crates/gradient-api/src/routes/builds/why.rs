//! Why a build is where it is.

use actix_web::web;
use gradient_domain::{BuildStatus, BuildWait};
use gradient_engine::Engine;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ApiError,
    envelope::Answer,
    scope::{BuildScope, ViewOrg},
};

/// Why a build is where it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BuildExplanation)]
pub(super) struct WhyBody {
    status: BuildStatus,
    /// The same as in the build; none when it waits for nothing.
    waiting_reason: Option<BuildWait>,
    /// For a person; there is one for each status.
    #[schema(example = "It waits for hello-2.12.1.")]
    sentence: String,
}

/// Tells why a build is where it is, with a sentence for a person.
#[utoipa::path(get, path = "/builds/{id}/why")]
pub(super) async fn why(scope: BuildScope<ViewOrg>, engine: web::Data<Engine>) -> Result<Answer<WhyBody>, ApiError> {
    let explanation = engine.explain_build(scope.build).await?;
    let (status, waiting_reason, sentence) = (explanation.status, explanation.waiting, explanation.sentence);
    Ok(Answer(WhyBody { status, waiting_reason, sentence }))
}
