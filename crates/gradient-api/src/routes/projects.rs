//! `/projects/{org}`: the projects of an organization.

mod view;

use actix_web::{http::Method, web};
use gradient_domain::{Concurrency, Priority, ProjectId, Publish};
use gradient_engine::{Engine, NewProject, ProjectChanges};
use serde::{Deserialize, Serialize};

use super::{
    fields::{PageQuery, description, optional, parse, present},
    resource,
};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Page, Sentence},
    error::Code,
    scope::{CreateProject, EditProject, OrganizationScope, ProjectScope, ViewOrg},
};
use view::{DetailsBody, ProjectBody};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    let one = [(Method::GET, web::to(show)), (Method::PATCH, web::to(change)), (Method::DELETE, web::to(delete))];
    config
        .service(resource("/projects/{org}", [(Method::GET, web::to(list)), (Method::PUT, web::to(create))]))
        .service(resource("/projects/{org}/{project}", one))
        .service(resource("/projects/{org}/{project}/details", [(Method::GET, web::to(details))]))
        .service(resource("/projects/{org}/{project}/check-repository", [(Method::POST, web::to(check_repository))]))
        .service(resource(
            "/projects/{org}/{project}/active",
            [(Method::POST, web::to(activate)), (Method::DELETE, web::to(deactivate))],
        ));
}

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

#[derive(Deserialize)]
struct CreateBody {
    name: String,
    display_name: String,
    #[serde(default)]
    description: String,
    repository: String,
    branch: Option<String>,
    wildcard: String,
    concurrency: Option<Concurrency>,
    keep_evaluations: Option<i32>,
    poll_interval_secs: Option<i32>,
    publish: Option<Publish>,
    allow_ifd: Option<bool>,
    priority: Option<Priority>,
}

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

async fn show(scope: ProjectScope<ViewOrg>, engine: web::Data<Engine>) -> Result<Answer<ProjectBody>, ApiError> {
    Ok(Answer(ProjectBody::new(scope.project, &scope.found, &scope.caller, &engine).await?))
}

#[derive(Deserialize)]
struct ChangeBody {
    name: Option<String>,
    display_name: Option<String>,
    description: Option<String>,
    repository: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[expect(clippy::option_option, reason = "absent, null and a value are three different things")]
    branch: Option<Option<String>>,
    wildcard: Option<String>,
    active: Option<bool>,
    concurrency: Option<Concurrency>,
    keep_evaluations: Option<i32>,
    poll_interval_secs: Option<i32>,
    publish: Option<Publish>,
    allow_ifd: Option<bool>,
    priority: Option<Priority>,
}

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

async fn delete(scope: ProjectScope<EditProject>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    engine.delete_project(scope.project.id).await?;
    Ok(Answer(Sentence("the project is deleted".to_owned())))
}

async fn details(scope: ProjectScope<ViewOrg>, engine: web::Data<Engine>) -> Result<Answer<DetailsBody>, ApiError> {
    let id = scope.project.id;
    let project = ProjectBody::new(scope.project, &scope.found, &scope.caller, &engine).await?;
    Ok(Answer(DetailsBody::new(project, id, &engine).await?))
}

#[derive(Serialize)]
struct CommitBody {
    hash: String,
    message: String,
    author_name: String,
    branch: Option<String>,
}

async fn check_repository(scope: ProjectScope<EditProject>, engine: web::Data<Engine>) -> Result<Answer<CommitBody>, ApiError> {
    let found = engine.resolve_commit(&scope.project, None).await?;
    let body = CommitBody { hash: found.hash, message: found.message, author_name: found.author_name, branch: found.branch };
    Ok(Answer(body))
}

async fn activate(scope: ProjectScope<EditProject>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let changes = ProjectChanges { active: Some(true), ..ProjectChanges::default() };
    engine.change_project(scope.project.id, changes).await?;
    Ok(Answer(Sentence("the project is active".to_owned())))
}

async fn deactivate(scope: ProjectScope<EditProject>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let changes = ProjectChanges { active: Some(false), ..ProjectChanges::default() };
    engine.change_project(scope.project.id, changes).await?;
    Ok(Answer(Sentence("the project is inactive: it does not evaluate by itself".to_owned())))
}
