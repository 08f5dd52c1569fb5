use std::io::Write;

use diesel::{
    deserialize::{self, FromSql},
    pg::{Pg, PgValue},
    query_builder::QueryId,
    serialize::{self, IsNull, Output, ToSql},
    sql_types::{self, SqlType},
    sqlite::{Sqlite, SqliteValue},
};
use uuid::Uuid;

use crate::{Id, IdKind, WorkerId};

/// A UUID: `uuid` on PostgreSQL, a 16-byte blob on SQLite.
#[derive(Debug, Clone, Copy, SqlType, QueryId)]
#[diesel(postgres_type(oid = 2950, array_oid = 2951))]
#[diesel(sqlite_type(name = "Binary"))]
pub struct Key;

impl sql_types::SqlOrd for Key {}

fn read_pg(value: PgValue<'_>) -> deserialize::Result<Uuid> {
    <Uuid as FromSql<sql_types::Uuid, Pg>>::from_sql(value)
}

fn read_sqlite(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Uuid> {
    Ok(Uuid::from_slice(&<Vec<u8> as FromSql<sql_types::Binary, Sqlite>>::from_sql(value)?)?)
}

impl<K: IdKind> ToSql<Key, Pg> for Id<K> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(self.uuid().as_bytes())?;
        Ok(IsNull::No)
    }
}

impl<K: IdKind> ToSql<Key, Sqlite> for Id<K> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.uuid().as_bytes().to_vec());
        Ok(IsNull::No)
    }
}

impl<K: IdKind> FromSql<Key, Pg> for Id<K> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        read_pg(value).map(Self::from_uuid)
    }
}

impl<K: IdKind> FromSql<Key, Sqlite> for Id<K> {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        read_sqlite(value).map(Self::from_uuid)
    }
}

impl ToSql<Key, Pg> for WorkerId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(self.uuid().as_bytes())?;
        Ok(IsNull::No)
    }
}

impl ToSql<Key, Sqlite> for WorkerId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.uuid().as_bytes().to_vec());
        Ok(IsNull::No)
    }
}

impl FromSql<Key, Pg> for WorkerId {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(read_pg(value)?.try_into()?)
    }
}

impl FromSql<Key, Sqlite> for WorkerId {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        Ok(read_sqlite(value)?.try_into()?)
    }
}
