//! Organizations, and who is in them. What is deleted is not there for any of these functions.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{DisplayName, Moment, OrganizationId, OrganizationName, UserId};

use crate::{
    Conn, StorageError,
    conn::query,
    error::{found, hit, naming},
    schema::{organization_members, organizations},
};

mod members;

pub use members::{
    Member, administered, count_admins, delete_member, insert_member, members, role_of, roles_of, set_member_role,
};

/// One organization.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = organizations, treat_none_as_default_value = false)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its name, unique on the server.
    pub name: OrganizationName,
    /// What people read.
    pub display_name: DisplayName,
    /// What it is about.
    pub description: String,
    /// Whether everybody may see it.
    pub public: bool,
    /// Its weight when organizations compete for workers.
    pub share: i32,
    /// The public SSH key, as one line.
    pub ssh_public: String,
    /// The private SSH key, sealed.
    pub ssh_private_sealed: Vec<u8>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: Moment,
    /// When it was deleted; never set in what these functions answer.
    pub deleted_at: Option<Moment>,
}

/// What of an organization changes; `None` keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, AsChangeset)]
#[diesel(table_name = organizations)]
pub struct OrganizationChanges {
    /// A new name.
    pub name: Option<OrganizationName>,
    /// A new name to read.
    pub display_name: Option<DisplayName>,
    /// A new description.
    pub description: Option<String>,
    /// Whether everybody may see it from now on.
    pub public: Option<bool>,
    /// A new weight.
    pub share: Option<i32>,
}

macro_rules! one {
    ($id:expr) => {
        organizations::table.find($id).filter(organizations::deleted_at.is_null()).select(organizations::id)
    };
}

/// Adds an organization; `AlreadyExists` when the name is taken.
pub async fn insert(conn: &mut Conn, organization: &Organization) -> Result<(), StorageError> {
    query!(conn, |c| {
        let insert = diesel::insert_into(organizations::table).values(organization);
        insert.execute(c).await.map_err(naming("organization"))?
    });
    Ok(())
}

/// The organization with this id.
pub async fn lookup(conn: &mut Conn, id: OrganizationId) -> Result<Option<Organization>, StorageError> {
    Ok(query!(conn, |c| {
        let one = organizations::table.find(id).filter(organizations::deleted_at.is_null());
        one.select(Organization::as_select()).first(c).await.optional()?
    }))
}

/// The organization with this id, which has to be there.
pub async fn find(conn: &mut Conn, id: OrganizationId) -> Result<Organization, StorageError> {
    found(lookup(conn, id).await?, "organization", id)
}

/// Keeps an organization from being changed or deleted until the transaction ends; whether it is there. On SQLite the writer is
/// alone anyway.
pub async fn keep(conn: &mut Conn, id: OrganizationId) -> Result<bool, StorageError> {
    let there: Option<OrganizationId> = query!(
        conn,
        postgres | c | one!(id).for_share().first(c).await.optional()?,
        sqlite | c | one!(id).first(c).await.optional()?,
    );
    Ok(there.is_some())
}

/// As [`keep`], and nobody else may keep it: one at a time decides about its members.
pub async fn lock(conn: &mut Conn, id: OrganizationId) -> Result<bool, StorageError> {
    let there: Option<OrganizationId> = query!(
        conn,
        postgres | c | one!(id).for_no_key_update().first(c).await.optional()?,
        sqlite | c | one!(id).first(c).await.optional()?,
    );
    Ok(there.is_some())
}

/// The organization of this name.
pub async fn lookup_by_name(conn: &mut Conn, name: &OrganizationName) -> Result<Option<Organization>, StorageError> {
    Ok(query!(conn, |c| {
        let one = organizations::table.filter(organizations::name.eq(name)).filter(organizations::deleted_at.is_null());
        one.select(Organization::as_select()).first(c).await.optional()?
    }))
}

/// All organizations, for the scheduler.
pub async fn list(conn: &mut Conn) -> Result<Vec<Organization>, StorageError> {
    Ok(query!(conn, |c| {
        let all = organizations::table.filter(organizations::deleted_at.is_null()).order(organizations::id);
        all.select(Organization::as_select()).load(c).await?
    }))
}

/// The ids of the organizations that a user is a member of.
pub async fn ids_of_member(conn: &mut Conn, user: UserId) -> Result<Vec<OrganizationId>, StorageError> {
    Ok(query!(conn, |c| {
        let mine = organization_members::table.inner_join(organizations::table);
        let mine = mine.filter(organization_members::user.eq(user)).filter(organizations::deleted_at.is_null());
        mine.select(organizations::id).order(organizations::id).load(c).await?
    }))
}

/// The public organizations and these, by name. Beside the page the count of all of them.
pub async fn page(
    conn: &mut Conn,
    seen: &[OrganizationId],
    limit: i64,
    offset: i64,
) -> Result<(Vec<Organization>, i64), StorageError> {
    macro_rules! visible {
        () => {
            organizations::table
                .filter(organizations::deleted_at.is_null())
                .filter(organizations::public.eq(true).or(organizations::id.eq_any(seen)))
        };
    }
    let total = query!(&mut *conn, |c| visible!().count().get_result(c).await?);
    let rows = query!(conn, |c| {
        let page = visible!().order(organizations::name).limit(limit).offset(offset);
        page.select(Organization::as_select()).load(c).await?
    });
    Ok((rows, total))
}

/// Changes an organization; `AlreadyExists` when the new name is taken.
pub async fn set(conn: &mut Conn, id: OrganizationId, changes: &OrganizationChanges) -> Result<(), StorageError> {
    if *changes == OrganizationChanges::default() {
        return find(conn, id).await.map(drop);
    }
    let rows = query!(conn, |c| {
        let one = organizations::table.find(id).filter(organizations::deleted_at.is_null());
        diesel::update(one).set(changes).execute(c).await.map_err(naming("organization"))?
    });
    hit(rows, "organization", id)
}

/// Gives an organization another SSH key.
pub async fn set_ssh_key(conn: &mut Conn, id: OrganizationId, public: &str, sealed: &[u8]) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = organizations::table.find(id).filter(organizations::deleted_at.is_null());
        let pair = (organizations::ssh_public.eq(public), organizations::ssh_private_sealed.eq(sealed));
        diesel::update(one).set(pair).execute(c).await?
    });
    hit(rows, "organization", id)
}

/// The host keys that an organization's repositories showed, in the format of `known_hosts`.
pub async fn known_hosts(conn: &mut Conn, id: OrganizationId) -> Result<String, StorageError> {
    let known = query!(conn, |c| {
        let one = organizations::table.find(id).filter(organizations::deleted_at.is_null());
        one.select(organizations::ssh_known_hosts).first(c).await.optional()?
    });
    found(known, "organization", id)
}

/// Keeps the host keys that an organization's repositories showed.
pub async fn set_known_hosts(conn: &mut Conn, id: OrganizationId, known_hosts: &str) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = organizations::table.find(id).filter(organizations::deleted_at.is_null());
        diesel::update(one).set(organizations::ssh_known_hosts.eq(known_hosts)).execute(c).await?
    });
    hit(rows, "organization", id)
}

/// Hides an organization; its name is free again.
pub async fn set_deleted(conn: &mut Conn, id: OrganizationId, now: Moment) -> Result<(), StorageError> {
    let rows = query!(conn, |c| {
        let one = organizations::table.find(id).filter(organizations::deleted_at.is_null());
        diesel::update(one).set(organizations::deleted_at.eq(Some(now))).execute(c).await?
    });
    hit(rows, "organization", id)
}
