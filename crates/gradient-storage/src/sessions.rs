//! Who is signed in: the rows that the `jti` of a JWT names.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{Moment, SessionId, UserId};

use crate::{Conn, StorageError, conn::query, schema::sessions};

/// One sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions, treat_none_as_default_value = false)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// When it began.
    pub created_at: Moment,
    /// When it ends by itself.
    pub expires_at: Moment,
    /// Whether it outlives the browser.
    pub remember: bool,
    /// When it was ended.
    pub revoked_at: Option<Moment>,
}

/// Adds a session.
pub async fn insert(conn: &mut Conn, session: &Session) -> Result<(), StorageError> {
    query!(conn, |c| diesel::insert_into(sessions::table).values(session).execute(c).await?);
    Ok(())
}

/// The session, when it has neither ended nor been ended.
pub async fn lookup_live(conn: &mut Conn, id: SessionId, now: Moment) -> Result<Option<Session>, StorageError> {
    Ok(query!(conn, |c| {
        let live = sessions::table.find(id).filter(sessions::revoked_at.is_null()).filter(sessions::expires_at.gt(now));
        live.select(Session::as_select()).first(c).await.optional()?
    }))
}

/// Ends a session; whether it had not been ended before.
pub async fn revoke(conn: &mut Conn, id: SessionId, now: Moment) -> Result<bool, StorageError> {
    let rows = query!(conn, |c| {
        let live = sessions::table.find(id).filter(sessions::revoked_at.is_null());
        diesel::update(live).set(sessions::revoked_at.eq(Some(now))).execute(c).await?
    });
    Ok(rows > 0)
}

/// Ends all sessions of a user; how many there were.
pub async fn revoke_all(conn: &mut Conn, user: UserId, now: Moment) -> Result<usize, StorageError> {
    Ok(query!(conn, |c| {
        let live = sessions::table.filter(sessions::user.eq(user)).filter(sessions::revoked_at.is_null());
        diesel::update(live).set(sessions::revoked_at.eq(Some(now))).execute(c).await?
    }))
}

/// Ends all sessions of a user but one; how many there were.
pub async fn revoke_all_but(conn: &mut Conn, user: UserId, kept: SessionId, now: Moment) -> Result<usize, StorageError> {
    Ok(query!(conn, |c| {
        let live = sessions::table.filter(sessions::user.eq(user)).filter(sessions::revoked_at.is_null());
        let others = live.filter(sessions::id.ne(kept));
        diesel::update(others).set(sessions::revoked_at.eq(Some(now))).execute(c).await?
    }))
}

/// Removes at most `limit` sessions that ended by themselves before `now`; how many there were.
pub async fn delete_expired(conn: &mut Conn, now: Moment, limit: i64) -> Result<usize, StorageError> {
    let ids: Vec<SessionId> = query!(conn, |c| {
        sessions::table.filter(sessions::expires_at.le(now)).select(sessions::id).limit(limit).load(c).await?
    });
    Ok(query!(conn, |c| diesel::delete(sessions::table.filter(sessions::id.eq_any(&ids))).execute(c).await?))
}
