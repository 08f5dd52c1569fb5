use crate::{CachePermissions, Epoch, Permissions, Priority};

/// Maps a type that becomes a number, and is made of one, to an integer column on both databases.
macro_rules! number {
    ($name:ty, $sql:ident, $number:ty) => {
        impl diesel::serialize::ToSql<diesel::sql_types::$sql, diesel::pg::Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>) -> diesel::serialize::Result {
                let number = <$number>::try_from(*self)?;
                std::io::Write::write_all(out, &number.to_be_bytes())?;
                Ok(diesel::serialize::IsNull::No)
            }
        }

        impl diesel::serialize::ToSql<diesel::sql_types::$sql, diesel::sqlite::Sqlite> for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut diesel::serialize::Output<'b, '_, diesel::sqlite::Sqlite>,
            ) -> diesel::serialize::Result {
                out.set_value(<$number>::try_from(*self)?);
                Ok(diesel::serialize::IsNull::No)
            }
        }

        impl<DB> diesel::deserialize::FromSql<diesel::sql_types::$sql, DB> for $name
        where
            DB: diesel::backend::Backend,
            $number: diesel::deserialize::FromSql<diesel::sql_types::$sql, DB>,
        {
            fn from_sql(value: DB::RawValue<'_>) -> diesel::deserialize::Result<Self> {
                Ok(<$number>::from_sql(value)?.try_into()?)
            }
        }
    };
}

number!(CachePermissions, BigInt, i64);
number!(Epoch, Integer, i32);
number!(Permissions, BigInt, i64);
number!(Priority, Integer, i32);
