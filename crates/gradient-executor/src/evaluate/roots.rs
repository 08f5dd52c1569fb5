//! What keeps the sources of an evaluation from the garbage collector until the server has them.

use std::{collections::HashSet, convert::Infallible, future::pending, time::Duration};

use gradient_nix::StorePath;
use gradient_nix_daemon::{Connection, Error};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};

use crate::Machine;

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// How many paths are held together.
const MANY: usize = 256;

/// Temporary roots in the store that the evaluation uses. They go with it.
pub(super) struct Roots(Mutex<Option<Connection>>);

impl Roots {
    /// Without a daemon there are none: what is collected meanwhile fails the evaluation, and it is repeated.
    pub(super) async fn open(machine: &Machine) -> Self {
        let connection = soon(machine.daemons.daemon().connect()).await;
        Self(Mutex::new(connection.inspect_err(give_up).ok()))
    }

    /// Holds what comes, for as long as it is asked to.
    pub(super) async fn follow(&self, mut used: mpsc::UnboundedReceiver<StorePath>) -> Infallible {
        let mut some = Vec::new();
        while used.recv_many(&mut some, MANY).await > 0 {
            self.hold(&some).await;
            some.clear();
        }
        pending().await
    }

    /// Holds these paths from now on. They need not be there yet.
    pub(super) async fn hold(&self, paths: impl IntoIterator<Item = &StorePath>) {
        let paths: Vec<&StorePath> = paths.into_iter().collect();
        self.ask(async |open| open.add_temp_roots(&paths).await).await;
    }

    /// Holds these paths, and says which of them are there. Nothing without a daemon.
    pub(super) async fn hold_valid(&self, paths: &[StorePath]) -> Option<HashSet<StorePath>> {
        self.hold(paths).await;
        let valid = self.ask(async |open| open.query_valid_paths(paths.iter()).await).await;
        valid.map(|valid| valid.into_iter().collect())
    }

    async fn ask<T>(&self, question: impl AsyncFnOnce(&mut Connection) -> Result<T, Error>) -> Option<T> {
        let mut connection = self.0.lock().await;
        match soon(question(connection.as_mut()?)).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                *connection = None;
                give_up(&error);
                None
            }
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

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use gradient_test_support::nix::{Store, installations};

    use super::*;
    use crate::{Daemons, EvaluationLimits, Nix, Reserve, UploadBudget, process::Limits};

    #[tokio::test]
    async fn what_is_held_is_not_collected() {
        for installed in installations().unwrap() {
            let store = Store::new("").unwrap();
            let nix = Nix::discover(Some(installed.bin), store.environment()).await.unwrap();
            let machine = Machine {
                daemons: Arc::new(Daemons::new(&nix)),
                nix,
                peer_stores: None,
                nix_eval_jobs: None,
                scratch: store.home().to_path_buf(),
                uploads: UploadBudget::default(),
                evaluation: EvaluationLimits::of_this_machine(),
                reserve: Reserve { memory_bytes: 0, disk_bytes: 0 },
                build_times: gradient_domain::BuildTimes::default(),
            };
            let limits = Limits { time: PATIENCE, stdout_bytes: 1 << 20 };
            fs::write(store.home().join("source"), "source").unwrap();
            let file = store.home().join("source").into_os_string();
            let printed = machine.nix.run("nix-store", ["--add".into(), file], limits).await.unwrap();
            let path = StorePath::from_absolute(String::from_utf8(printed).unwrap().trim()).unwrap();

            let roots = Roots::open(&machine).await;
            roots.hold([&path]).await;
            let is_there = async || {
                machine.nix.run("nix-store", ["--gc"], limits).await.unwrap();
                machine.nix.real_path(&path).exists()
            };
            assert!(is_there().await, "it is held");
            drop(roots);
            // The daemon takes a moment to notice.
            timeout(PATIENCE, async { while is_there().await {} }).await.expect("it is collected when nothing holds it");
        }
    }
}
