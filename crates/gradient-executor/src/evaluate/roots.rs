//! What keeps the sources of an evaluation from the garbage collector until the server has them.

use std::time::Duration;

use gradient_nix::StorePath;
use gradient_nix_daemon::{Connection, Error};
use tokio::{sync::Mutex, time::timeout};

use crate::Machine;

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Temporary roots in the store that the evaluation uses. They go with it.
pub(super) struct Roots(Mutex<Option<Connection>>);

impl Roots {
    /// Without a daemon there are none: what is collected meanwhile fails the evaluation, and it is repeated.
    pub(super) async fn open(machine: &Machine) -> Self {
        let connection = soon(machine.daemons.daemon().connect()).await;
        Self(Mutex::new(connection.inspect_err(give_up).ok()))
    }

    /// Holds these paths from now on. They need not be there yet.
    pub(super) async fn hold(&self, paths: impl IntoIterator<Item = &StorePath>) {
        let paths: Vec<&StorePath> = paths.into_iter().collect();
        let mut connection = self.0.lock().await;
        if let Some(open) = connection.as_mut()
            && let Err(error) = soon(open.add_temp_roots(&paths)).await
        {
            *connection = None;
            give_up(&error);
        }
    }
}

fn give_up(error: &Error) {
    tracing::warn!(%error, "nothing keeps the sources of an evaluation from the garbage collector");
}

async fn soon<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Error::Ended(format!("it did not answer within {} seconds", PATIENCE.as_secs()));
    timeout(PATIENCE, answer).await.map_err(late)?
}
