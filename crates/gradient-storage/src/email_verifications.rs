//! The addresses that users are still to prove: the one they registered with, or another one that they want. One for each user.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{Email, Moment, UserId};

use crate::{Conn, Digest, StorageError, conn::query, schema::email_verifications};

/// An address that a mail was sent to.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = email_verifications, primary_key(user), treat_none_as_default_value = false)]
pub struct EmailVerification {
    /// Whose it is to be.
    pub user: UserId,
    /// The address.
    pub email: Email,
    /// The SHA-256 of the token in the mail.
    pub token_hash: Digest,
    /// When the token was made.
    pub created_at: Moment,
    /// When it ends.
    pub expires_at: Moment,
}

/// Keeps what a user is to prove; the token before it proves nothing any more.
pub async fn replace(conn: &mut Conn, verification: &EmailVerification) -> Result<(), StorageError> {
    query!(conn, |c| {
        let insert = diesel::insert_into(email_verifications::table).values(verification);
        insert.on_conflict(email_verifications::user).do_update().set(verification).execute(c).await?
    });
    Ok(())
}

/// What a user is to prove.
pub async fn lookup(conn: &mut Conn, user: UserId) -> Result<Option<EmailVerification>, StorageError> {
    Ok(query!(conn, |c| {
        email_verifications::table.find(user).select(EmailVerification::as_select()).first(c).await.optional()?
    }))
}

/// What a token proves, once: it is gone after this.
pub async fn take(conn: &mut Conn, token_hash: Digest) -> Result<Option<EmailVerification>, StorageError> {
    let found: Option<EmailVerification> = query!(conn, |c| {
        let one = email_verifications::table.filter(email_verifications::token_hash.eq(token_hash));
        one.select(EmailVerification::as_select()).first(c).await.optional()?
    });
    let Some(found) = found else { return Ok(None) };
    // Of two that come with the same token, one finds it gone.
    let rows = query!(conn, |c| {
        let one = email_verifications::table.find(found.user).filter(email_verifications::token_hash.eq(token_hash));
        diesel::delete(one).execute(c).await?
    });
    Ok((rows > 0).then_some(found))
}

/// Forgets what a user was to prove.
pub async fn delete(conn: &mut Conn, user: UserId) -> Result<(), StorageError> {
    query!(conn, |c| diesel::delete(email_verifications::table.find(user)).execute(c).await?);
    Ok(())
}

/// Removes at most `limit` that ended before `now`; how many there were.
pub async fn delete_expired(conn: &mut Conn, now: Moment, limit: i64) -> Result<usize, StorageError> {
    let users: Vec<UserId> = query!(conn, |c| {
        let expired = email_verifications::table.filter(email_verifications::expires_at.le(now));
        expired.select(email_verifications::user).limit(limit).load(c).await?
    });
    Ok(query!(conn, |c| {
        let expired = email_verifications::table.filter(email_verifications::user.eq_any(&users));
        // One of them may have a newer one by now.
        diesel::delete(expired.filter(email_verifications::expires_at.le(now))).execute(c).await?
    }))
}
