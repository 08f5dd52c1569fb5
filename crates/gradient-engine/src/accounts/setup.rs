//! The setup token: who has it runs the server, from wherever they ask.

use gradient_auth::SecretHash;
use gradient_domain::Secret;
use gradient_storage::{Conn, Storage, users};
use rand::distr::{Alphanumeric, SampleString};

use crate::{Engine, EngineError};

/// How many letters and digits it has: beyond guessing.
const LENGTH: usize = 48;

/// A token in memory only, for a server that has no users yet.
#[derive(Debug)]
pub(crate) struct SetupToken(Secret<String>);

impl SetupToken {
    /// A new one, when there are no users.
    pub(crate) async fn of_empty(storage: &Storage) -> Result<Option<Self>, EngineError> {
        let users = storage.read(async move |conn: &mut Conn| users::count(conn).await).await?;
        Ok((users == 0).then(|| Self(Secret::new(Alphanumeric.sample_string(&mut rand::rng(), LENGTH)))))
    }
}

impl Engine {
    /// The token that makes the first user superuser, on a server that had no users when it started. It is only good until there
    /// is one.
    pub fn setup_token(&self) -> Option<&Secret<String>> {
        self.setup().map(|token| &token.0)
    }

    /// Whether `token` is the setup token.
    pub fn is_setup_token(&self, token: &[u8]) -> bool {
        let known = self.setup_token().map(|known| SecretHash::of(known.expose().as_bytes()));
        known.is_some_and(|known| known.matches(&SecretHash::of(token)))
    }
}
