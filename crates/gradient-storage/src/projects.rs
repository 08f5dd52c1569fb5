//! Projects: a repository, and what of it to build. What is deleted is not there for any of these functions.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{
    Concurrency, DisplayName, Moment, OrganizationId, Priority, ProjectId, ProjectName, Publish, RepositoryUrl, UserId, Wildcard,
};

use crate::{
    Conn, StorageError,
    conn::query,
    error::{found, hit, naming},
    schema::{organizations, projects},
};

/// One project.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = projects, treat_none_as_default_value = false)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// Its name, unique in the organization.
    pub name: ProjectName,
    /// What people read.
    pub display_name: DisplayName,
    /// What it is about.
    pub description: String,
    /// Where the flake is.
    pub repository: RepositoryUrl,
    /// Which branch; none means the repository's own.
    pub branch: Option<String>,
    /// Which attributes are built.
    pub wildcard: Wildcard,
    /// Whether it evaluates by itself.
    pub active: bool,
    /// How many evaluations are kept.
    pub keep_evaluations: i32,
    /// What a new evaluation does to an older one.
    pub concurrency: Concurrency,
    /// Seconds between looks at the repository; 0 is off.
    pub poll_interval_secs: i32,
    /// What the caches get.
    pub publish: Publish,
    /// Whether evaluating may build.
    pub allow_ifd: bool,
    /// How early its builds come.
    pub priority: Priority,
    /// When the repository was last looked at.
    pub last_check_at: Option<Moment>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: Moment,
    /// When it was deleted; never set in what these functions answer.
    pub deleted_at: Option<Moment>,
}

/// What of a project changes; `None` keeps, `Some(None)` clears.
#[derive(Debug, Clone, Default, PartialEq, AsChangeset)]
#[diesel(table_name = projects)]
pub struct ProjectChanges {
    /// A new name.
    pub name: Option<ProjectName>,
    /// A new name to read.
    pub display_name: Option<DisplayName>,
    /// A new description.
    pub description: Option<String>,
    /// Another repository.
    pub repository: Option<RepositoryUrl>,
    /// Another branch.
    pub branch: Option<Option<String>>,
    /// Other attributes.
    pub wildcard: Option<Wildcard>,
    /// Whether it evaluates by itself from now on.
    pub active: Option<bool>,
    /// How many evaluations are kept from now on.
    pub keep_evaluations: Option<i32>,
    /// What new evaluations do to older ones from now on.
    pub concurrency: Option<Concurrency>,
    /// Another interval.
    pub poll_interval_secs: Option<i32>,
    /// What the caches get from now on.
    pub publish: Option<Publish>,
    /// Whether evaluating may build from now on.
    pub allow_ifd: Option<bool>,
    /// A new priority.
    pub priority: Option<Priority>,
}

/// Adds a project; `AlreadyExists` when the organization has one of that name.
pub async fn insert(conn: &mut Conn, project: &Project) -> Result<(), StorageError> {
    query!(conn, |c| diesel::insert_into(projects::table).values(project).execute(c).await.map_err(naming("project"))?);
    Ok(())
}

/// The project with this id.
pub async fn lookup(conn: &mut Conn, id: ProjectId) -> Result<Option<Project>, StorageError> {
    Ok(query!(conn, |c| {
        let one = projects::table.find(id).filter(projects::deleted_at.is_null());
        one.select(Project::as_select()).first(c).await.optional()?
    }))
}

/// The project with this id, which has to be there.
pub async fn find(conn: &mut Conn, id: ProjectId) -> Result<Project, StorageError> {
    found(lookup(conn, id).await?, "project", id)
}

/// The project with this id, kept as it is until the transaction ends. On SQLite the writer is alone anyway.
pub async fn lock(conn: &mut Conn, id: ProjectId) -> Result<Option<Project>, StorageError> {
    macro_rules! one {
        () => {
            projects::table.find(id).filter(projects::deleted_at.is_null()).select(Project::as_select())
        };
    }
    Ok(query!(
        conn,
        postgres | c | one!().for_no_key_update().first(c).await.optional()?,
        sqlite | c | one!().first(c).await.optional()?,
    ))
}

/// The project of this name in an organization.
pub async fn lookup_by_name(
    conn: &mut Conn,
    organization: OrganizationId,
    name: &ProjectName,
) -> Result<Option<Project>, StorageError> {
    Ok(query!(conn, |c| {
        let one = projects::table.filter(projects::organization.eq(organization)).filter(projects::name.eq(name));
        one.filter(projects::deleted_at.is_null()).select(Project::as_select()).first(c).await.optional()?
    }))
}

/// The projects of an organization, by name, and how many there are.
pub async fn page(
    conn: &mut Conn,
    organization: OrganizationId,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Project>, i64), StorageError> {
    macro_rules! all {
        () => {
            projects::table.filter(projects::organization.eq(organization)).filter(projects::deleted_at.is_null())
        };
    }
    let total = query!(&mut *conn, |c| all!().count().get_result(c).await?);
    let rows = query!(conn, |c| {
        let page = all!().order(projects::name).limit(limit).offset(offset);
        page.select(Project::as_select()).load(c).await?
    });
    Ok((rows, total))
}

/// The active projects that look at their repository by themselves.
pub async fn list_polled(conn: &mut Conn) -> Result<Vec<Project>, StorageError> {
    Ok(query!(conn, |c| {
        let all = projects::table.inner_join(organizations::table).filter(organizations::deleted_at.is_null());
        let all = all.filter(projects::deleted_at.is_null()).filter(projects::active.eq(true));
        let polled = all.filter(projects::poll_interval_secs.gt(0)).order(projects::id);
        polled.select(Project::as_select()).load(c).await?
    }))
}

/// Changes a project; `AlreadyExists` when the new name is taken.
pub async fn set(conn: &mut Conn, id: ProjectId, changes: &ProjectChanges) -> Result<(), StorageError> {
    if *changes == ProjectChanges::default() {
        return find(conn, id).await.map(drop);
    }
    let rows = query!(conn, |c| {
        let one = projects::table.find(id).filter(projects::deleted_at.is_null());
        diesel::update(one).set(changes).execute(c).await.map_err(naming("project"))?
    });
    hit(rows, "project", id)
}

/// Notes that the repository was looked at.
pub async fn set_last_check(conn: &mut Conn, id: ProjectId, now: Moment) -> Result<(), StorageError> {
    query!(conn, |c| diesel::update(projects::table.find(id)).set(projects::last_check_at.eq(Some(now))).execute(c).await?);
    Ok(())
}

/// Hides a project; its name is free again.
pub async fn set_deleted(conn: &mut Conn, id: ProjectId, now: Moment) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = projects::table.find(id).filter(projects::deleted_at.is_null());
        diesel::update(one).set(projects::deleted_at.eq(Some(now))).execute(c).await?
    });
    hit(rows, "project", id)
}
