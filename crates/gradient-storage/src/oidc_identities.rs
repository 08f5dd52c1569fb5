//! Who at an OpenID provider is which user: by the provider and its subject, never by an address.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{Moment, UserId};

use crate::{
    Conn, StorageError,
    conn::query,
    error::naming,
    schema::{oidc_identities, users},
    users::User,
};

/// Somebody whom a provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = oidc_identities, treat_none_as_default_value = false)]
pub struct OidcIdentity {
    /// The provider, `iss`.
    pub issuer: String,
    /// Who it is there, `sub`; nobody else ever gets it.
    pub subject: String,
    /// Who it is here.
    pub user: UserId,
    /// When it first signed in.
    pub created_at: Moment,
}

/// Adds an identity; `AlreadyExists` when it is known, or the user has one.
pub async fn insert(conn: &mut Conn, identity: &OidcIdentity) -> Result<(), StorageError> {
    query!(conn, |c| {
        let insert = diesel::insert_into(oidc_identities::table).values(identity);
        insert.execute(c).await.map_err(naming("OIDC identity"))?
    });
    Ok(())
}

/// The user that an identity is.
pub async fn lookup_user(conn: &mut Conn, issuer: &str, subject: &str) -> Result<Option<User>, StorageError> {
    Ok(query!(conn, |c| {
        let known = oidc_identities::table.find((issuer, subject)).inner_join(users::table);
        known.select(User::as_select()).first(c).await.optional()?
    }))
}
