//! `POST /builds`: sources are sent and built, without a repository; and `GET /builds/direct/recent`.

mod form;

use actix_web::{HttpRequest, http::header, web};
use gradient_auth::Caller;
use gradient_domain::{
    EvaluationId, EvaluationStatus, Moment, OrgPermission, OrganizationId, OrganizationName, UserId, Wildcard,
};
use gradient_engine::{DirectBuild, Engine, Evaluation, SourcePath, Sources};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ApiError,
    endpoints::{Endpoints, endpoints},
    envelope::Answer,
    error::Code,
    scope::{Identified, SignedIn},
};
use form::{Fields, Form, Part};

/// What a form may have beside the bytes of its files.
const FORM_BYTES: u64 = 16 << 20;

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Builds:
        submit => Validation;
        recent;
    }
}

/// Builds sources that are sent, without a repository: answers the id of the evaluation.
///
/// `organization` has to come before the first file: no file is read for somebody who may not build there. An organization can have
/// four uploads on the way at a time, and one that is slower than 64 KiB per second for long is given up.
#[utoipa::path(post, path = "/builds", request_body(content = Fields, content_type = "multipart/form-data"))]
async fn submit(
    Identified(caller): Identified,
    request: HttpRequest,
    mut form: Form,
    engine: web::Data<Engine>,
) -> Result<Answer<EvaluationId>, ApiError> {
    check_length(&request, engine.settings().max_nar_bytes)?;
    let mut submission = Submission { organization: None, wildcard: None, sources: None };
    while let Some(part) = form.next().await? {
        submission.take(&engine, &caller, part).await?;
    }
    let wanted = submission.complete(caller.user().map(|user| user.user)).await?;
    Ok(Answer(engine.request_direct_build(wanted).await?))
}

/// What is certainly too large is refused before it is read.
fn check_length(request: &HttpRequest, max: u64) -> Result<(), ApiError> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > max.saturating_add(FORM_BYTES)) {
        return Err(ApiError::new(Code::PayloadTooLarge, format!("the files have more than {max} bytes together")));
    }
    Ok(())
}

/// What came so far.
struct Submission {
    organization: Option<OrganizationId>,
    wildcard: Option<Wildcard>,
    sources: Option<Sources>,
}

impl Submission {
    async fn take(&mut self, engine: &Engine, caller: &Caller, mut part: Part<'_>) -> Result<(), ApiError> {
        match part.name() {
            "organization" if self.organization.is_none() => {
                self.organization = Some(permitted(engine, caller, &part.text().await?).await?);
            }
            "derivation" if self.wildcard.is_none() => {
                let wildcard = part.text().await?.parse();
                let wildcard = wildcard.map_err(|error| ApiError::new(Code::Validation, format!("derivation: {error}")))?;
                self.wildcard = Some(wildcard);
            }
            name @ ("organization" | "derivation") => return Err(ApiError::bad_request(format!("{name}: it comes twice"))),
            name => {
                let path = name.strip_prefix("file:").ok_or_else(|| unknown(name))?;
                let path: SourcePath =
                    path.parse().map_err(|error| ApiError::bad_request(format!("{}: {error}", shown(name))))?;
                let sources = self.sources(engine).await?;
                sources.begin(path)?;
                while let Some(chunk) = part.chunk().await? {
                    sources.write(chunk).await?;
                }
            }
        }
        Ok(())
    }

    /// Where the files go: nowhere before it is known for whom they are.
    async fn sources(&mut self, engine: &Engine) -> Result<&mut Sources, ApiError> {
        let early = || ApiError::bad_request("the field `organization` has to come before the first file");
        let organization = self.organization.ok_or_else(early)?;
        match &mut self.sources {
            Some(sources) => Ok(sources),
            none => Ok(none.insert(engine.begin_sources(organization).await?)),
        }
    }

    async fn complete(self, triggered_by: Option<UserId>) -> Result<DirectBuild, ApiError> {
        let missing = |field: &str| ApiError::bad_request(format!("the field `{field}` is missing"));
        let organization = self.organization.ok_or_else(|| missing("organization"))?;
        let wildcard = self.wildcard.ok_or_else(|| missing("derivation"))?;
        let mut sources = self.sources.ok_or_else(|| missing("file:<path>"))?;
        sources.finish().await?;
        if !sources.are_a_flake() {
            let message = "the sources are no flake: the field `file:flake.nix` is missing";
            return Err(ApiError::bad_request(message));
        }
        Ok(DirectBuild { organization, wildcard, triggered_by, sources })
    }
}

/// The organization of this name, in which the caller may start evaluations.
async fn permitted(engine: &Engine, caller: &Caller, name: &str) -> Result<OrganizationId, ApiError> {
    let missing = || ApiError::not_found("there is no such organization");
    let name: OrganizationName = name.parse().map_err(|_| missing())?;
    let found = engine.find_organization(caller, name).await?.ok_or_else(missing)?;
    ApiError::decided(
        found.access.decide(caller, OrgPermission::TriggerEvaluation),
        "organization",
        OrgPermission::TriggerEvaluation.as_str(),
    )?;
    Ok(found.organization.id)
}

fn unknown(name: &str) -> ApiError {
    let name = shown(name);
    ApiError::bad_request(format!("there is no field `{name}`; expected `organization`, `derivation` and `file:<path>`"))
}

/// As much of a name as an error shows.
fn shown(name: &str) -> String {
    name.chars().take(200).collect()
}

/// A direct build. It is known by its evaluation, so both ids are the same.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DirectBuild, title = "DirectBuild")]
struct DirectBuildBody {
    id: EvaluationId,
    /// The attribute path or wildcard that was asked for.
    #[schema(example = "packages.x86_64-linux.#")]
    derivation: String,
    created_at: Moment,
    evaluation_id: EvaluationId,
    status: EvaluationStatus,
}

impl From<Evaluation> for DirectBuildBody {
    fn from(evaluation: Evaluation) -> Self {
        let Evaluation { id, wildcard: derivation, created_at, status, .. } = evaluation;
        Self { id, derivation, created_at, evaluation_id: id, status }
    }
}

/// Lists the newest direct builds of the caller's organizations, at most 20.
#[utoipa::path(get, path = "/builds/direct/recent")]
async fn recent(signed_in: SignedIn, engine: web::Data<Engine>) -> Result<Answer<Vec<DirectBuildBody>>, ApiError> {
    let recent = engine.recent_direct_builds(&signed_in.caller).await?;
    Ok(Answer(recent.into_iter().map(DirectBuildBody::from).collect()))
}
