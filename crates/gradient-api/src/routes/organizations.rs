//! `/orgs`: organizations and their SSH keys.

use actix_web::{http::Method, web};
use gradient_auth::{Authenticated, Pin, Via};
use gradient_domain::{DisplayName, Moment, OrgPermission, OrganizationId, OrganizationName, RoleName, Username};
use gradient_engine::{Engine, FoundOrganization, NewOrganization, OrganizationChanges};
use serde::{Deserialize, Serialize};

use super::{
    fields::{PageQuery, description, optional},
    resource,
};
use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Page, Sentence},
    error::Code,
    scope::{DeleteOrg, ManageOrgSettings, ManageSshKey, Member, OrganizationScope, SignedIn, ViewOrg},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    let one = [(Method::GET, web::to(show)), (Method::PATCH, web::to(change)), (Method::DELETE, web::to(delete))];
    config
        .service(resource("/orgs", [(Method::GET, web::to(list)), (Method::PUT, web::to(create))]))
        .service(resource("/orgs/{org}", one))
        .service(resource("/orgs/{org}/ssh", [(Method::GET, web::to(ssh_key)), (Method::POST, web::to(renew_ssh_key))]));
}

#[derive(Serialize)]
struct OrganizationBody {
    id: OrganizationId,
    name: OrganizationName,
    display_name: DisplayName,
    description: String,
    public: bool,
    role: Option<RoleName>,
    created_by: Option<Username>,
    created_at: Moment,
}

impl From<FoundOrganization> for OrganizationBody {
    fn from(found: FoundOrganization) -> Self {
        let FoundOrganization { organization, role, created_by, .. } = found;
        Self {
            id: organization.id,
            name: organization.name,
            display_name: organization.display_name,
            description: organization.description,
            public: organization.public,
            role,
            created_by,
            created_at: organization.created_at,
        }
    }
}

async fn list(
    user: SignedIn,
    query: web::Query<PageQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<Page<OrganizationBody>>, ApiError> {
    let window = query.window()?;
    let (items, total) = engine.organizations(&user.caller, window.limit, window.offset).await?;
    Ok(Answer(window.of(items.into_iter().map(OrganizationBody::from).collect(), total)))
}

#[derive(Deserialize)]
struct CreateBody {
    name: String,
    display_name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    public: bool,
}

async fn create(user: SignedIn, body: Body<CreateBody>, engine: web::Data<Engine>) -> Result<Answer<OrganizationId>, ApiError> {
    may_create(&user.user)?;
    let CreateBody { name, display_name, description: text, public } = body.read()?;
    let wanted =
        NewOrganization { name: name.parse()?, display_name: display_name.parse()?, description: description(text)?, public };
    Ok(Answer(engine.create_organization(user.user.user, wanted).await?))
}

/// Whoever makes an organization becomes its Admin, so a key has to be one that may as much as that.
fn may_create(user: &Authenticated) -> Result<(), ApiError> {
    match user.via {
        Via::ApiKey(key) if key.pin != Pin::Everywhere || !key.permissions.contains(OrgPermission::ManageOrgSettings) => {
            Err(ApiError::new(Code::Forbidden, "this API key may not create organizations"))
        }
        Via::ApiKey(_) | Via::Session(_) => Ok(()),
    }
}

async fn show(scope: OrganizationScope<ViewOrg>) -> Answer<OrganizationBody> {
    Answer(scope.found.into())
}

#[derive(Deserialize)]
struct ChangeBody {
    name: Option<String>,
    display_name: Option<String>,
    description: Option<String>,
    public: Option<bool>,
    share: Option<i32>,
}

async fn change(
    scope: OrganizationScope<ManageOrgSettings>,
    body: Body<ChangeBody>,
    engine: web::Data<Engine>,
) -> Result<Answer<Sentence>, ApiError> {
    let body = body.read()?;
    if let Some(share) = body.share {
        if !scope.caller.user().is_some_and(|user| user.superuser) {
            return Err(ApiError::new(Code::SuperuserRequired, "only a superuser sets the share"));
        }
        if !(1..=10_000).contains(&share) {
            return Err(ApiError::new(Code::Validation, "share: must be from 1 to 10000"));
        }
    }
    let changes = OrganizationChanges {
        name: optional(body.name.as_ref())?,
        display_name: optional(body.display_name.as_ref())?,
        description: body.description.map(description).transpose()?,
        public: body.public,
        share: body.share,
    };
    engine.change_organization(scope.found.organization.id, changes).await?;
    Ok(Answer(Sentence("the organization is changed".to_owned())))
}

async fn delete(scope: OrganizationScope<DeleteOrg>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    engine.delete_organization(scope.found.organization.id).await?;
    Ok(Answer(Sentence("the organization is deleted".to_owned())))
}

async fn ssh_key(scope: OrganizationScope<Member>) -> Answer<String> {
    Answer(scope.found.organization.ssh_public)
}

async fn renew_ssh_key(scope: OrganizationScope<ManageSshKey>, engine: web::Data<Engine>) -> Result<Answer<String>, ApiError> {
    let organization = &scope.found.organization;
    Ok(Answer(engine.renew_ssh_key(organization.id, &organization.name).await?))
}
