//! Extractors that have already decided: a handler that takes `OrganizationScope<ManageMembers>` runs only for callers who have
//! that permission, and its signature says so.

mod caller;
mod download;
mod permission;
mod review;

use std::{future::Future, marker::PhantomData, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use gradient_auth::Caller;
use gradient_domain::{BuildId, OrgPermission, UserId};
use gradient_engine::{Commit, Engine, Evaluation, FoundCache, FoundOrganization, Project};

use crate::{
    ApiError,
    error::Code,
    openapi::{Credentials, Describe, Description, Permission},
};

pub(crate) use caller::{AnySession, COOKIE, Identified, MaySeeStatistics, SessionUser, SignedIn, is_from_a_foreign_page};
pub(crate) use download::DownloadScope;
pub(crate) use permission::{
    CacheMember, CreateProject, DeleteCache, DeleteOrg, EditProject, ManageCacheKeys, ManageCacheMembers, ManageCacheRoles,
    ManageCacheSettings, ManageCacheUpstreams, ManageMembers, ManageOrgSettings, ManageRoles, ManageSshKey, ManageSubscriptions,
    ManageWorkers, Member, Needs, NeedsCache, ReadStore, TriggerEvaluation, ViewCache, ViewOrg, WriteStore,
};
pub(crate) use review::{StreamReview, revoked};

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

/// The organization of the path's `{org}`, for a caller who has the permission `P` in it.
pub(crate) struct OrganizationScope<P> {
    pub(crate) found: FoundOrganization,
    pub(crate) caller: Caller,
    permission: PhantomData<P>,
}

/// The project of the path's `{org}` and `{project}`.
pub(crate) struct ProjectScope<P> {
    pub(crate) found: FoundOrganization,
    pub(crate) project: Project,
    pub(crate) caller: Caller,
    permission: PhantomData<P>,
}

/// The evaluation of the path's `{id}`.
pub(crate) struct EvaluationScope<P> {
    pub(crate) evaluation: Evaluation,
    permission: PhantomData<P>,
}

/// The build of the path's `{id}`.
pub(crate) struct BuildScope<P> {
    pub(crate) build: BuildId,
    permission: PhantomData<P>,
}

/// The commit of the path's `{id}`. It belongs to the organization whose evaluations refer to it.
pub(crate) struct CommitScope<P> {
    pub(crate) commit: Commit,
    permission: PhantomData<P>,
}

/// The cache of the path's `{cache}`.
pub(crate) struct CacheScope<P> {
    pub(crate) found: FoundCache,
    pub(crate) caller: Caller,
    permission: PhantomData<P>,
}

impl<P> OrganizationScope<P> {
    /// Who asks, when it is a user.
    pub(crate) fn user(&self) -> Option<UserId> {
        self.caller.user().map(|user| user.user)
    }
}

impl<P> ProjectScope<P> {
    /// Who asks, when it is a user.
    pub(crate) fn user(&self) -> Option<UserId> {
        self.caller.user().map(|user| user.user)
    }
}

fn engine(request: &HttpRequest) -> Result<Engine, ApiError> {
    let data = request.app_data::<web::Data<Engine>>();
    data.map(|engine| Engine::clone(engine)).ok_or_else(|| ApiError::new(Code::Internal, "internal server error"))
}

/// A part of the path, as it is in the URL's pattern.
fn segment<T: std::str::FromStr>(request: &HttpRequest, name: &str) -> Option<T> {
    request.match_info().get(name)?.parse().ok()
}

/// What is not there, and what a caller may not know of, look the same.
fn nothing(caller: &Caller, what: &str) -> ApiError {
    match caller {
        Caller::Anonymous => ApiError::unauthorized(),
        Caller::User(_) => ApiError::hidden(what),
    }
}

async fn organization<P: Needs>(request: &HttpRequest, engine: &Engine, caller: &Caller) -> Result<FoundOrganization, ApiError> {
    let missing = || nothing(caller, "organization");
    let name = segment(request, "org").ok_or_else(missing)?;
    let found = engine.find_organization(caller, name).await?.ok_or_else(missing)?;
    ApiError::decided(P::decide(&found.access, caller), "organization", P::PERMISSION.as_str())?;
    Ok(found)
}

/// Decides about something that belongs to an organization, which the caller need not have named.
async fn belongs(
    engine: &Engine,
    caller: &Caller,
    organization: gradient_domain::OrganizationId,
    needed: OrgPermission,
    what: &str,
) -> Result<(), ApiError> {
    let found = engine.organization_by_id(caller, organization).await?.ok_or_else(|| nothing(caller, what))?;
    ApiError::decided(found.access.decide(caller, needed), what, needed.as_str())
}

impl<P: Needs> FromRequest for OrganizationScope<P> {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (engine, caller) = (engine(&request)?, caller::of(&request).await?);
            let found = organization::<P>(&request, &engine, &caller).await?;
            Ok(Self { found, caller, permission: PhantomData })
        })
    }
}

impl<P: Needs> FromRequest for ProjectScope<P> {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (engine, caller) = (engine(&request)?, caller::of(&request).await?);
            let found = organization::<P>(&request, &engine, &caller).await?;
            let missing = || nothing(&caller, "project");
            let name = segment(&request, "project").ok_or_else(missing)?;
            let project = engine.find_project(found.organization.id, name).await?.ok_or_else(missing)?;
            Ok(Self { found, project, caller, permission: PhantomData })
        })
    }
}

impl<P: Needs> FromRequest for EvaluationScope<P> {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (engine, caller) = (engine(&request)?, caller::of(&request).await?);
            let missing = || nothing(&caller, "evaluation");
            let id = segment(&request, "id").ok_or_else(missing)?;
            let evaluation = engine.lookup_evaluation(id).await?.ok_or_else(missing)?;
            belongs(&engine, &caller, evaluation.organization, P::PERMISSION, "evaluation").await?;
            Ok(Self { evaluation, permission: PhantomData })
        })
    }
}

impl<P: Needs> FromRequest for BuildScope<P> {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (engine, caller) = (engine(&request)?, caller::of(&request).await?);
            let missing = || nothing(&caller, "build");
            let build = segment(&request, "id").ok_or_else(missing)?;
            let organization = engine.build_organization(build).await?.ok_or_else(missing)?;
            belongs(&engine, &caller, organization, P::PERMISSION, "build").await?;
            Ok(Self { build, permission: PhantomData })
        })
    }
}

impl<P: Needs> FromRequest for CommitScope<P> {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (engine, caller) = (engine(&request)?, caller::of(&request).await?);
            let missing = || nothing(&caller, "commit");
            let id = segment(&request, "id").ok_or_else(missing)?;
            let commit = engine.evaluated_commit(id).await?.ok_or_else(missing)?;
            belongs(&engine, &caller, commit.organization, P::PERMISSION, "commit").await?;
            Ok(Self { commit, permission: PhantomData })
        })
    }
}

impl<P: NeedsCache> FromRequest for CacheScope<P> {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (engine, caller) = (engine(&request)?, caller::of(&request).await?);
            let missing = || nothing(&caller, "cache");
            let name = segment(&request, "cache").ok_or_else(missing)?;
            let found = engine.find_cache(&caller, name).await?.ok_or_else(missing)?;
            ApiError::decided(P::decide(&found.access, &caller), "cache", P::PERMISSION.as_str())?;
            Ok(Self { found, caller, permission: PhantomData })
        })
    }
}

/// Whoever may not see the thing is told that it is not there; whoever may see it learns what the permission is for.
fn describe_organization<P: Needs>(description: &mut Description) {
    // Somebody who is no member may see that a public organization is there.
    let is_seen = P::credentials() == Credentials::Required;
    let errors: &[Code] = if is_seen { &[Code::NotFound, Code::Forbidden] } else { &[Code::NotFound] };
    description.needs(Permission::Organization(P::PERMISSION), P::credentials(), errors);
}

macro_rules! of_an_organization {
    ($($scope:ident),+) => {
        $(
            impl<P: Needs> Describe for $scope<P> {
                fn describe(description: &mut Description) {
                    describe_organization::<P>(description);
                }
            }
        )+
    };
}

of_an_organization!(OrganizationScope, ProjectScope, EvaluationScope, BuildScope, CommitScope);

impl<P: NeedsCache> Describe for CacheScope<P> {
    fn describe(description: &mut Description) {
        // Somebody who is no member may see that a public cache is there.
        let is_seen = P::credentials() == Credentials::Required;
        let errors: &[Code] = if is_seen { &[Code::NotFound, Code::Forbidden] } else { &[Code::NotFound] };
        description.needs(Permission::Cache(P::PERMISSION), P::credentials(), errors);
    }
}
