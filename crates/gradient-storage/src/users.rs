//! The people who sign in.

use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use gradient_domain::{DisplayName, Email, Moment, UserId, Username};

use crate::{
    Conn, StorageError, caches,
    conn::query,
    error::{found, hit, naming},
    functions::{lower, lower_text},
    organizations,
    schema::{cache_members, organization_members, users},
};

/// One user.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = users, treat_none_as_default_value = false)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The login name, unique without regard to case.
    pub username: Username,
    /// What others read.
    pub name: DisplayName,
    /// The address, unique without regard to case.
    pub email: Email,
    /// The password's PHC string; none for those who sign in elsewhere.
    pub password_hash: Option<String>,
    /// Whether it may do what concerns the whole server.
    pub superuser: bool,
    /// When it was registered.
    pub created_at: Moment,
    /// Whether the address counts as its own: it was proven, or nobody asked for a proof.
    pub email_verified: bool,
}

/// What of a user changes; `None` keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, AsChangeset)]
#[diesel(table_name = users)]
pub struct UserChanges {
    /// A new login name.
    pub username: Option<Username>,
    /// A new name to read.
    pub name: Option<DisplayName>,
    /// A new address.
    pub email: Option<Email>,
    /// Whether it is a superuser from now on.
    pub superuser: Option<bool>,
    /// Whether the address counts as its own from now on.
    pub email_verified: Option<bool>,
}

/// Adds a user; `AlreadyExists` when the username or the address is taken.
pub async fn insert(conn: &mut Conn, user: &User) -> Result<(), StorageError> {
    query!(conn, |c| diesel::insert_into(users::table).values(user).execute(c).await.map_err(naming("user"))?);
    Ok(())
}

/// The user with this id.
pub async fn lookup(conn: &mut Conn, id: UserId) -> Result<Option<User>, StorageError> {
    Ok(query!(conn, |c| users::table.find(id).select(User::as_select()).first(c).await.optional()?))
}

/// The user with this id, which has to be there.
pub async fn find(conn: &mut Conn, id: UserId) -> Result<User, StorageError> {
    found(lookup(conn, id).await?, "user", id)
}

/// Makes others who lock the user wait until the transaction ends. Whether it is there.
pub async fn lock(conn: &mut Conn, id: UserId) -> Result<bool, StorageError> {
    let there: Option<UserId> = query!(
        conn,
        postgres | c | users::table.find(id).select(users::id).for_no_key_update().first(c).await.optional()?,
        sqlite | c | users::table.find(id).select(users::id).first(c).await.optional()?,
    );
    Ok(there.is_some())
}

/// The user with this login name, without regard to case.
pub async fn lookup_by_username(conn: &mut Conn, username: &str) -> Result<Option<User>, StorageError> {
    Ok(query!(conn, |c| {
        let named = users::table.filter(lower(users::username).eq(lower_text(username)));
        named.select(User::as_select()).first(c).await.optional()?
    }))
}

/// The user with this login name or address, without regard to case.
pub async fn lookup_by_login(conn: &mut Conn, login: &str) -> Result<Option<User>, StorageError> {
    // No username has an `@` and every address has one, so at most one of the two can hit.
    if !login.contains('@') {
        return lookup_by_username(conn, login).await;
    }
    Ok(query!(conn, |c| {
        let named = users::table.filter(lower(users::email).eq(lower_text(login)));
        named.select(User::as_select()).first(c).await.optional()?
    }))
}

/// The names of these users.
pub async fn usernames(conn: &mut Conn, ids: &[UserId]) -> Result<Vec<(UserId, Username)>, StorageError> {
    Ok(query!(conn, |c| users::table.filter(users::id.eq_any(ids)).select((users::id, users::username)).load(c).await?))
}

/// How many users there are.
pub async fn count(conn: &mut Conn) -> Result<i64, StorageError> {
    Ok(query!(conn, |c| users::table.count().get_result(c).await?))
}

/// Changes a user; `AlreadyExists` when the new username or address is taken.
pub async fn set(conn: &mut Conn, id: UserId, changes: &UserChanges) -> Result<(), StorageError> {
    if *changes == UserChanges::default() {
        return find(conn, id).await.map(drop);
    }
    let rows = query!(conn, |c| diesel::update(users::table.find(id)).set(changes).execute(c).await.map_err(naming("user"))?);
    hit(rows, "user", id)
}

/// Gives a user another password.
pub async fn set_password(conn: &mut Conn, id: UserId, hash: &str) -> Result<(), StorageError> {
    let rows =
        query!(conn, |c| diesel::update(users::table.find(id)).set(users::password_hash.eq(Some(hash))).execute(c).await?);
    hit(rows, "user", id)
}

/// Removes a user, with its sessions, keys and memberships; what it made stays.
pub async fn delete(conn: &mut Conn, id: UserId) -> Result<(), StorageError> {
    let rows = query!(conn, |c| diesel::delete(users::table.find(id)).execute(c).await?);
    hit(rows, "user", id)
}

/// Users who never proved their address, chose a password, and are nobody anywhere: members of nothing, and no superuser.
macro_rules! unproven {
    () => {{
        let organizations = organization_members::table.filter(organization_members::user.eq(users::id));
        let caches = cache_members::table.filter(cache_members::user.eq(users::id));
        let unproven = users::table.filter(users::email_verified.eq(false)).filter(users::superuser.eq(false));
        let unproven = unproven.filter(users::password_hash.is_not_null());
        unproven.filter(not(exists(organizations))).filter(not(exists(caches)))
    }};
}

/// Removes at most `limit` users who registered before `before`, never proved their address and are nobody anywhere. How many there
/// were.
pub async fn delete_unproven(conn: &mut Conn, before: Moment, limit: i64) -> Result<usize, StorageError> {
    let found: Vec<UserId> = query!(&mut *conn, |c| {
        let old = unproven!().filter(users::created_at.lt(before));
        old.select(users::id).order(users::id).limit(limit).load(c).await?
    });
    // Whoever proved the address meanwhile stays.
    Ok(query!(conn, |c| diesel::delete(unproven!().filter(users::id.eq_any(&found))).execute(c).await?))
}

/// Removes a user who never proved the address and is nobody anywhere. Whether it was such a one.
pub async fn delete_if_unproven(conn: &mut Conn, id: UserId) -> Result<bool, StorageError> {
    Ok(query!(conn, |c| diesel::delete(unproven!().filter(users::id.eq(id))).execute(c).await?) > 0)
}

/// The organizations and caches, each as a sentence calls it, whose last Admin this user is, and remains until the transaction ends.
pub async fn last_admin_of(conn: &mut Conn, id: UserId) -> Result<Vec<String>, StorageError> {
    let mut names = Vec::new();
    for (organization, name) in organizations::administered(conn, id).await? {
        organizations::lock(conn, organization).await?;
        if organizations::count_admins(conn, organization).await? == 1 {
            names.push(format!("the organization {name}"));
        }
    }
    for (cache, name) in caches::administered(conn, id).await? {
        caches::lock(conn, cache).await?;
        if caches::count_admins(conn, cache).await? == 1 {
            names.push(format!("the cache {name}"));
        }
    }
    Ok(names)
}
