//! `/projects/{org}`: the projects of an organization.

mod view;

use actix_web::web;
use gradient_domain::{Concurrency, DisplayName, Priority, ProjectId, ProjectName, Publish, RepositoryUrl, Wildcard};
use gradient_engine::{Engine, NewProject, ProjectChanges};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::{PageQuery, description, optional, parse, present};
use crate::{
    ApiError,
    body::Body,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Page, Sentence},
    error::Code,
    routes::evaluations::EvaluationSummary,
    scope::{CreateProject, EditProject, OrganizationScope, ProjectScope, ViewOrg},
};
use view::{DetailsBody, ProjectBody};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Projects:
        list;
        create => AlreadyExists, InvalidName, Validation;
        show;
        change => AlreadyExists, InvalidName, Validation;
        delete;
        details;
        evaluations;
        check_repository => RepositoryUnreachable;
        activate;
        deactivate;
    }
}

/// Lists the projects of an organization, by name.
#[utoipa::path(get, path = "/projects/{org}")]
async fn list(
    scope: OrganizationScope<ViewOrg>,
    query: web::Query<PageQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<Page<ProjectBody>>, ApiError> {
    let window = query.window()?;
    let (projects, total) = engine.projects(scope.found.organization.id, window.limit, window.offset).await?;
    let mut items = Vec::with_capacity(projects.len());
    for project in projects {
        items.push(ProjectBody::new(project, &scope.found, &scope.caller, &engine).await?);
    }
    Ok(Answer(window.of(items, total)))
}

/// What a new project is to be.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewProject)]
struct CreateBody {
    #[schema(value_type = ProjectName)]
    name: String,
    #[schema(value_type = DisplayName)]
    display_name: String,
    #[serde(default)]
    #[schema(max_length = 10000, example = "Our web site.")]
    description: String,
    #[schema(value_type = RepositoryUrl)]
    repository: String,
    /// The repository's own where there is none.
    #[schema(max_length = 255, example = "main")]
    branch: Option<String>,
    #[schema(value_type = Wildcard)]
    wildcard: String,
    concurrency: Option<Concurrency>,
    /// How many evaluations are kept.
    #[schema(minimum = 1, default = 30, example = 30)]
    keep_evaluations: Option<i32>,
    /// How often the server looks for new commits; 0 is never.
    #[schema(minimum = 0, default = 0, example = 300)]
    poll_interval_secs: Option<i32>,
    publish: Option<Publish>,
    allow_ifd: Option<bool>,
    priority: Option<Priority>,
}

/// Creates a project.
#[utoipa::path(put, path = "/projects/{org}")]
async fn create(
    scope: OrganizationScope<CreateProject>,
    body: Body<CreateBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<ProjectId>, ApiError> {
    let user = scope.user().ok_or_else(ApiError::unauthorized)?;
    let body = body.read()?;
    let wanted = NewProject {
        name: body.name.parse()?,
        display_name: body.display_name.parse()?,
        description: description(body.description)?,
        repository: parse("repository", &body.repository)?,
        branch: branch(body.branch)?,
        wildcard: parse("wildcard", &body.wildcard)?,
        concurrency: body.concurrency.unwrap_or(Concurrency::SoftAbort),
        keep_evaluations: body.keep_evaluations.unwrap_or(30),
        poll_interval_secs: body.poll_interval_secs.unwrap_or(0),
        publish: body.publish.unwrap_or(Publish::Runtime),
        allow_ifd: body.allow_ifd.unwrap_or(true),
        priority: body.priority.unwrap_or_default(),
    };
    Ok(Answer(engine.create_project(scope.found.organization.id, user, wanted).await?))
}

/// No text is no branch: the repository's own. What git would not call one, an evaluation tells.
fn branch(text: Option<String>) -> Result<Option<String>, ApiError> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    match &text {
        Some(name) if name.len() > 255 || name.starts_with('-') || name.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            Err(ApiError::new(Code::Validation, "branch: no branch can have this name"))
        }
        _ => Ok(text),
    }
}

/// Shows a project.
#[utoipa::path(get, path = "/projects/{org}/{project}")]
async fn show(scope: ProjectScope<ViewOrg>, engine: web::Data<Engine>) -> Result<Answer<ProjectBody>, ApiError> {
    Ok(Answer(ProjectBody::new(scope.project, &scope.found, &scope.caller, &engine).await?))
}

/// What to change of a project.
#[derive(Deserialize, ToSchema)]
#[schema(as = ProjectChanges)]
struct ChangeBody {
    #[schema(value_type = Option<ProjectName>)]
    name: Option<String>,
    #[schema(value_type = Option<DisplayName>)]
    display_name: Option<String>,
    #[schema(max_length = 10000, example = "Our web site.")]
    description: Option<String>,
    #[schema(value_type = Option<RepositoryUrl>)]
    repository: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[expect(clippy::option_option, reason = "absent, null and a value are three different things")]
    #[schema(value_type = Option<String>, max_length = 255, example = "main")]
    branch: Option<Option<String>>,
    #[schema(value_type = Option<Wildcard>)]
    wildcard: Option<String>,
    active: Option<bool>,
    concurrency: Option<Concurrency>,
    #[schema(minimum = 1, example = 30)]
    keep_evaluations: Option<i32>,
    #[schema(minimum = 0, example = 300)]
    poll_interval_secs: Option<i32>,
    publish: Option<Publish>,
    allow_ifd: Option<bool>,
    priority: Option<Priority>,
}

/// Changes a project.
///
/// What is left out stays as it is; `"branch": null` means the repository's own.
#[utoipa::path(patch, path = "/projects/{org}/{project}")]
async fn change(
    scope: ProjectScope<EditProject>,
    body: Body<ChangeBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    let changes = ProjectChanges {
        name: optional(body.name.as_ref())?,
        display_name: optional(body.display_name.as_ref())?,
        description: body.description.map(description).transpose()?,
        repository: body.repository.map(|text| parse("repository", &text)).transpose()?,
        branch: body.branch.map(branch).transpose()?,
        wildcard: body.wildcard.map(|text| parse("wildcard", &text)).transpose()?,
        active: body.active,
        keep_evaluations: body.keep_evaluations,
        concurrency: body.concurrency,
        poll_interval_secs: body.poll_interval_secs,
        publish: body.publish,
        allow_ifd: body.allow_ifd,
        priority: body.priority,
    };
    engine.change_project(scope.project.id, changes).await?;
    Ok(Answer(Sentence("the project is changed".to_owned())))
}

/// Deletes a project. Its evaluations end.
#[utoipa::path(delete, path = "/projects/{org}/{project}")]
async fn delete(scope: ProjectScope<EditProject>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    engine.delete_project(scope.project.id).await?;
    Ok(Answer(Sentence("the project is deleted".to_owned())))
}

/// Lists the evaluations of a project, newest first.
#[utoipa::path(get, path = "/projects/{org}/{project}/evaluations")]
async fn evaluations(
    scope: ProjectScope<ViewOrg>,
    query: web::Query<PageQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<Page<EvaluationSummary>>, ApiError> {
    let window = query.window()?;
    let (evaluations, total) = engine.evaluations(scope.project.id, window.limit, window.offset).await?;
    let summaries = view::summaries(evaluations, &engine).await?;
    Ok(Answer(window.of(summaries, total)))
}

/// Shows a project with its newest evaluations and what it waits for.
#[utoipa::path(get, path = "/projects/{org}/{project}/details")]
async fn details(scope: ProjectScope<ViewOrg>, engine: web::Data<Engine>) -> Result<Answer<DetailsBody>, ApiError> {
    let id = scope.project.id;
    let project = ProjectBody::new(scope.project, &scope.found, &scope.caller, &engine).await?;
    Ok(Answer(DetailsBody::new(project, id, &engine).await?))
}

/// The commit that would be evaluated.
#[derive(Serialize, ToSchema)]
#[schema(as = HeadCommit)]
struct CommitBody {
    #[schema(example = "2c26b46b68ffc68ff99b453c1d30413413422d70")]
    hash: String,
    #[schema(example = "web: a new page")]
    message: String,
    #[schema(example = "Alice")]
    author_name: String,
    #[schema(example = "main")]
    branch: Option<String>,
}

/// Reaches the project's repository, within ten seconds, and shows the commit that would be evaluated.
#[utoipa::path(post, path = "/projects/{org}/{project}/check-repository")]
async fn check_repository(scope: ProjectScope<EditProject>, engine: web::Data<Engine>) -> Result<Answer<CommitBody>, ApiError> {
    let found = engine.resolve_commit(&scope.project, None).await?;
    let body = CommitBody { hash: found.hash, message: found.message, author_name: found.author_name, branch: found.branch };
    Ok(Answer(body))
}

/// Makes a project evaluate by itself again.
#[utoipa::path(post, path = "/projects/{org}/{project}/active")]
async fn activate(scope: ProjectScope<EditProject>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let changes = ProjectChanges { active: Some(true), ..ProjectChanges::default() };
    engine.change_project(scope.project.id, changes).await?;
    Ok(Answer(Sentence("the project is active".to_owned())))
}

/// Makes a project evaluate only when it is told to.
#[utoipa::path(delete, path = "/projects/{org}/{project}/active")]
async fn deactivate(scope: ProjectScope<EditProject>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let changes = ProjectChanges { active: Some(false), ..ProjectChanges::default() };
    engine.change_project(scope.project.id, changes).await?;
    Ok(Answer(Sentence("the project is inactive: it does not evaluate by itself".to_owned())))
}
