//! A Nix store for each organization, so that one worker can serve several: what one of them has fetched, evaluated or built is not
//! there for another.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use gradient_domain::{Failure, FailureKind, OrganizationId};

use crate::{CheckError, Daemons, Machine, Nix, job::failure};

/// The stores below one directory, each with caches of its own: Nix's clones of repositories are as private as the repositories.
/// Clones share what is open.
#[derive(Debug, Clone)]
pub struct PeerStores {
    directory: PathBuf,
    opened: Arc<Mutex<HashMap<OrganizationId, Opened>>>,
}

/// One that is in use.
#[derive(Debug, Clone)]
struct Opened {
    nix: Nix,
    daemons: Arc<Daemons>,
}

impl PeerStores {
    /// The stores below `directory`, which need not be there.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, opened: Arc::default() }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether this Nix can build in such a store; see [`Daemons::check`].
    pub async fn check(&self, nix: &Nix) -> Result<(), CheckError> {
        let nix = self.make("check", nix).map_err(CheckError::Directory)?;
        Daemons::new(&nix).check().await
    }

    /// The Nix of one organization, and its daemons.
    fn open(&self, peer: OrganizationId, nix: &Nix) -> io::Result<Opened> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = opened.get(&peer) {
            return Ok(open.clone());
        }
        let nix = self.make(&peer.to_string(), nix)?;
        let new = Opened { daemons: Arc::new(Daemons::new(&nix)), nix };
        opened.insert(peer, new.clone());
        Ok(new)
    }

    fn make(&self, name: &str, nix: &Nix) -> io::Result<Nix> {
        let (root, caches) = (self.directory.join(name).join("root"), self.directory.join(name).join("cache"));
        for directory in [&root, &caches] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        Ok(nix.in_store(&root, &caches))
    }
}

impl Machine {
    /// The machine as the jobs of one organization see it.
    pub(crate) fn of_peer(&self, peer: OrganizationId) -> Result<Self, Failure> {
        let Some(stores) = &self.peer_stores else { return Ok(self.clone()) };
        let opened = stores.open(peer, &self.nix).map_err(|error| {
            let directory = stores.directory.display();
            failure(FailureKind::Transient, format!("cannot make a store for the organization in {directory}: {error}"))
        });
        opened.map(|Opened { nix, daemons }| Self { nix, daemons, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use gradient_test_support::nix::{Store, installations};

    use super::*;
    use crate::{EvaluationLimits, Reserve, UploadBudget};

    #[tokio::test]
    async fn each_organization_has_its_own() {
        for installed in installations().unwrap() {
            let store = Store::new("").unwrap();
            let nix = Nix::discover(Some(installed.bin), store.environment()).await.unwrap();
            assert!(nix.is_sandboxed());
            let stores = PeerStores::new(store.home().join("stores"));
            stores.check(&nix).await.unwrap();
            let machine = Machine {
                daemons: Arc::new(Daemons::new(&nix)),
                nix,
                peer_stores: Some(stores),
                nix_eval_jobs: None,
                scratch: store.home().to_path_buf(),
                uploads: UploadBudget::default(),
                evaluation: EvaluationLimits::of_this_machine(),
                reserve: Reserve { memory_bytes: 0, disk_bytes: 0 },
                build_times: gradient_domain::BuildTimes::default(),
            };
            let (one, other) = (OrganizationId::new(), OrganizationId::new());
            fs::write(store.home().join("secret"), "secret").unwrap();
            let add = [store.home().join("secret").into_os_string()];
            let limits = crate::process::Limits { time: std::time::Duration::from_mins(1), stdout_bytes: 1 << 10 };
            let nix = |peer| machine.of_peer(peer).unwrap().nix;
            let added = nix(one).run("nix-store", [["--add".into()], add].concat(), limits).await.unwrap();
            let path = String::from_utf8(added).unwrap().trim().to_owned();
            let known = async |peer| nix(peer).run("nix-store", ["--check-validity", path.as_str()], limits).await.is_ok();
            assert_eq!((known(one).await, known(other).await), (true, false));
            assert!(Arc::ptr_eq(&machine.of_peer(one).unwrap().daemons, &machine.of_peer(one).unwrap().daemons));
        }
    }
}
