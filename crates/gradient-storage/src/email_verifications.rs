//! The addresses that users are still to prove: the one they registered with, or another one that they want. A
//! user may have been sent several links.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{Email, Moment, UserId};

use crate::{Conn, Digest, StorageError, conn::query, schema::email_verifications};

/// An address that a mail was sent to.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = email_verifications, primary_key(token_hash), treat_none_as_default_value = false)]
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

/// Keeps what a user is to prove, beside what was asked for before: those tokens stay good.
pub async fn insert(conn: &mut Conn, verification: &EmailVerification) -> Result<(), StorageError> {
    query!(conn, |c| diesel::insert_into(email_verifications::table).values(verification).execute(c).await?);
    Ok(())
}

/// Keeps what a user is to prove; the tokens before it prove nothing any more. To be called in a transaction.
pub async fn replace(conn: &mut Conn, verification: &EmailVerification) -> Result<(), StorageError> {
    delete(conn, verification.user).await?;
    insert(conn, verification).await
}

/// What a user is to prove, as it was asked for last.
pub async fn lookup(conn: &mut Conn, user: UserId) -> Result<Option<EmailVerification>, StorageError> {
    Ok(query!(conn, |c| {
        let all = email_verifications::table.filter(email_verifications::user.eq(user));
        let newest = all.order(email_verifications::created_at.desc());
        newest.select(EmailVerification::as_select()).first(c).await.optional()?
    }))
}

/// What a token proves, once: it is gone after this, and so are the user's others.
pub async fn take(conn: &mut Conn, token_hash: Digest) -> Result<Option<EmailVerification>, StorageError> {
    let found: Option<EmailVerification> = query!(conn, |c| {
        let one = email_verifications::table.find(token_hash);
        one.select(EmailVerification::as_select()).first(c).await.optional()?
    });
    let Some(found) = found else { return Ok(None) };
    // Of two that come with the same token, one finds it gone.
    let rows = query!(conn, |c| diesel::delete(email_verifications::table.find(token_hash)).execute(c).await?);
    if rows == 0 {
        return Ok(None);
    }
    delete(conn, found.user).await?;
    Ok(Some(found))
}

/// Forgets what a user was to prove.
pub async fn delete(conn: &mut Conn, user: UserId) -> Result<(), StorageError> {
    query!(conn, |c| {
        let all = email_verifications::table.filter(email_verifications::user.eq(user));
        diesel::delete(all).execute(c).await?
    });
    Ok(())
}

/// Removes at most `limit` that ended before `now`; how many there were.
pub async fn delete_expired(conn: &mut Conn, now: Moment, limit: i64) -> Result<usize, StorageError> {
    let tokens: Vec<Digest> = query!(conn, |c| {
        let expired = email_verifications::table.filter(email_verifications::expires_at.le(now));
        expired.select(email_verifications::token_hash).limit(limit).load(c).await?
    });
    Ok(query!(conn, |c| {
        let expired = email_verifications::table.filter(email_verifications::token_hash.eq_any(&tokens));
        diesel::delete(expired).execute(c).await?
    }))
}
