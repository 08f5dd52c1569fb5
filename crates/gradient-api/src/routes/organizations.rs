//! `/orgs`: organizations and their SSH keys.

use actix_web::web;
use gradient_auth::{Authenticated, Pin};
use gradient_domain::{DisplayName, Moment, OrgPermission, OrganizationId, OrganizationName, RoleName, Username};
use gradient_engine::{Engine, FoundOrganization, NewOrganization, OrganizationChanges};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::{PageQuery, description, optional};
use crate::{
    ApiError,
    body::Body,
    endpoints::{Endpoints, endpoints},
    envelope::{Answer, Page, Sentence},
    error::Code,
    scope::{DeleteOrg, ManageOrgSettings, ManageSshKey, Member, OrganizationScope, SignedIn, ViewOrg},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Organizations:
        list;
        create => AlreadyExists, InvalidName, Validation;
        show;
        change => AlreadyExists, InvalidName, SuperuserRequired, Validation;
        delete;
        ssh_key;
        renew_ssh_key;
    }
}

/// An organization.
#[derive(Serialize, ToSchema)]
#[schema(as = Organization, title = "Organization")]
struct OrganizationBody {
    id: OrganizationId,
    name: OrganizationName,
    display_name: DisplayName,
    #[schema(example = "Everything we build.")]
    description: String,
    /// Whether everybody may see it.
    public: bool,
    /// The caller's.
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

/// Lists the organizations that the caller belongs to, and the public ones, by name.
#[utoipa::path(get, path = "/orgs")]
async fn list(
    user: SignedIn,
    query: web::Query<PageQuery>,
    engine: web::Data<Engine>,
) -> Result<Answer<Page<OrganizationBody>>, ApiError> {
    let window = query.window()?;
    let (items, total) = engine.organizations(&user.caller, window.limit, window.offset).await?;
    Ok(Answer(window.of(items.into_iter().map(OrganizationBody::from).collect(), total)))
}

/// What a new organization is to be.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewOrganization)]
struct CreateBody {
    #[schema(value_type = OrganizationName)]
    name: String,
    #[schema(value_type = DisplayName)]
    display_name: String,
    #[serde(default)]
    #[schema(max_length = 10000, example = "Everything we build.")]
    description: String,
    /// Whether everybody may see it.
    #[serde(default)]
    public: bool,
}

/// Creates an organization.
///
/// The caller becomes its Admin, and it gets an SSH key of its own. An API key has to be for no organization or cache in
/// particular, and to have `manageOrgSettings`.
#[utoipa::path(put, path = "/orgs")]
async fn create(user: SignedIn, body: Body<CreateBody>, engine: web::Data<Engine>) -> Result<Answer<OrganizationId>, ApiError> {
    may_create(&user.user)?;
    let CreateBody { name, display_name, description: text, public } = body.read()?;
    let wanted =
        NewOrganization { name: name.parse()?, display_name: display_name.parse()?, description: description(text)?, public };
    Ok(Answer(engine.create_organization(user.user.user, wanted).await?))
}

/// Whoever makes an organization becomes its Admin, so a key has to be one that may as much as that.
fn may_create(user: &Authenticated) -> Result<(), ApiError> {
    if user.pin() == Pin::Everywhere && user.carries(OrgPermission::ManageOrgSettings) {
        Ok(())
    } else {
        Err(ApiError::new(Code::Forbidden, "this API key may not create organizations"))
    }
}

/// Shows an organization.
#[utoipa::path(get, path = "/orgs/{org}")]
async fn show(scope: OrganizationScope<ViewOrg>) -> Answer<OrganizationBody> {
    Answer(scope.found.into())
}

/// What to change of an organization.
#[derive(Deserialize, ToSchema)]
#[schema(as = OrganizationChanges)]
struct ChangeBody {
    #[schema(value_type = Option<OrganizationName>)]
    name: Option<String>,
    #[schema(value_type = Option<DisplayName>)]
    display_name: Option<String>,
    #[schema(max_length = 10000, example = "Everything we build.")]
    description: Option<String>,
    public: Option<bool>,
    /// Its weight when workers are shared out; 100 where nothing was said.
    #[schema(minimum = 1, maximum = 10000, example = 100)]
    share: Option<i32>,
}

/// Changes an organization.
///
/// What is left out stays as it is. Only a superuser sets `share`.
#[utoipa::path(patch, path = "/orgs/{org}")]
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

/// Deletes an organization.
///
/// It is gone at once, and its work ends; what it had is removed in the background.
#[utoipa::path(delete, path = "/orgs/{org}")]
async fn delete(scope: OrganizationScope<DeleteOrg>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    engine.delete_organization(scope.found.organization.id).await?;
    Ok(Answer(Sentence("the organization is deleted".to_owned())))
}

/// Shows the public half of the SSH key that the organization fetches repositories with.
#[utoipa::path(get, path = "/orgs/{org}/ssh")]
async fn ssh_key(scope: OrganizationScope<Member>) -> Answer<String> {
    Answer(scope.found.organization.ssh_public)
}

/// Makes a new SSH key, and answers its public half.
///
/// The old one is dead at once: repositories that know it have to be told the new one.
#[utoipa::path(post, path = "/orgs/{org}/ssh")]
async fn renew_ssh_key(scope: OrganizationScope<ManageSshKey>, engine: web::Data<Engine>) -> Result<Answer<String>, ApiError> {
    let organization = &scope.found.organization;
    Ok(Answer(engine.renew_ssh_key(organization.id, &organization.name).await?))
}
