//! The SQL types that let one schema serve PostgreSQL and SQLite, and the impls that map domain values to them.
//!
//! | SQL type | PostgreSQL | SQLite | Rust |
//! |---|---|---|---|
//! | [`Key`] | `uuid` | 16-byte `BLOB` | [`Id`](crate::Id), [`WorkerId`](crate::WorkerId) |
//! | [`Moment`] | `timestamptz` | `INTEGER`, microseconds since 1970 | [`crate::Moment`] |
//! | [`Json`] | `jsonb` | `TEXT` | [`Document`] |
//! | [`Word`] | `text` | `TEXT` | the closed vocabularies, names |
//! | `BigInt`, `Integer` | `bigint`, `integer` | `INTEGER` | masks of permissions, [`Epoch`](crate::Epoch), [`Priority`](crate::Priority) |

mod json;
mod key;
mod moment;
mod number;
mod word;

pub use json::{Document, Json};
pub use key::Key;
pub use moment::Moment;
pub use word::Word;
pub(crate) use word::word;
