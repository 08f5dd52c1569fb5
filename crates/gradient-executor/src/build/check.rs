//! Whether this machine can build at all: asked once, before a worker says that it can.

use std::time::Duration;

use gradient_domain::Failure;
use gradient_nix::{Derivation, StorePath};
use gradient_nix_daemon::{BasicDerivation, BasicOutput, Error, Options};
use thiserror::Error as ThisError;
use tokio::time::timeout;
use uuid::Uuid;

use super::Daemons;
use crate::process::{Limits, ProcessError};

/// A build of nothing takes a moment; a machine on its knees gets longer.
const PATIENCE: Duration = Duration::from_mins(5);

const ASK: Limits = Limits { time: Duration::from_mins(1), stdout_bytes: 64 << 10 };

/// Why this machine cannot build.
#[derive(Debug, ThisError)]
pub enum CheckError {
    /// Nix's daemon does not believe what this user says of derivations.
    #[error(
        "Nix's daemon does not let this user build derivations that it brings along: \
         add the user to trusted-users in nix.conf and restart the daemon (it says: {0})"
    )]
    Untrusted(String),
    /// The store or the daemon cannot be used at all.
    #[error("cannot build with Nix: {0}")]
    Daemon(#[from] Error),
    /// The evaluator cannot.
    #[error("cannot make a derivation with Nix: {0}")]
    Instantiate(#[from] ProcessError),
    /// The evaluator made something else.
    #[error("cannot make a derivation with Nix: it answers `{0}`")]
    Derivation(String),
    /// There is no place for a store.
    #[error("cannot make a directory for a store: {0}")]
    Directory(std::io::Error),
    /// The builder failed: the sandbox, the build users, the disk.
    #[error("a trivial build fails with this Nix: {0}")]
    Build(String),
    /// Nothing happened.
    #[error("a trivial build does not end with this Nix within {} seconds", PATIENCE.as_secs())]
    Silence,
}

impl Daemons {
    /// Builds a derivation that needs nothing, the way all others will be built.
    pub async fn check(&self) -> Result<(), CheckError> {
        let (path, derivation) = trivial(self).await?;
        timeout(PATIENCE, build(self, &path, &derivation)).await.map_err(|_| CheckError::Silence)??;
        // Over a new connection, since the one that built keeps its output. What stays is the garbage collector's.
        if let Ok(mut connection) = self.connect().await {
            let made = derivation.outputs.values().filter_map(BasicOutput::path).chain([&path]);
            for path in made {
                let _ = timeout(PATIENCE, connection.delete([path].into_iter())).await;
            }
        }
        Ok(())
    }
}

async fn build(daemons: &Daemons, path: &StorePath, derivation: &BasicDerivation) -> Result<(), CheckError> {
    let mut connection = daemons.connect().await?;
    if connection.peer().trusted == Some(false) {
        return Err(CheckError::Untrusted("this client is not trusted".into()));
    }
    connection.set_options(&Options::default()).await?;
    let refused = |error| match error {
        // The words are "you are not privileged to build input-addressed derivations", in all versions.
        Error::Refused(message) if message.contains("privileged") => CheckError::Untrusted(message),
        error => CheckError::Daemon(error),
    };
    let mut building = connection.build_derivation(path, derivation).await.map_err(refused)?;
    while building.next().await.map_err(refused)?.is_some() {}
    let result = building.result().await?;
    if result.status.is_success() {
        Ok(())
    } else {
        let Failure { message, .. } = super::verdict::of(&result, false);
        Err(CheckError::Build(message))
    }
}

/// A derivation that no machine has built before and each can: its builder is a part of Nix.
async fn trivial(daemons: &Daemons) -> Result<(StorePath, BasicDerivation), CheckError> {
    let expression = format!(
        "derivation {{ name = \"gradient-worker-check\"; system = \"builtin\"; builder = \"builtin:buildenv\"; \
         derivations = [ ]; manifest = \"/none\"; stamp = \"{}\"; }}",
        Uuid::new_v4()
    );
    let printed = daemons.nix().run("nix-instantiate", ["--expr", &expression], ASK).await?;
    let printed = String::from_utf8_lossy(&printed).trim().to_owned();
    let read = || {
        let path = StorePath::from_absolute(&printed).ok()?;
        let aterm = std::fs::read(daemons.nix().real_path(&path)).ok()?;
        let derivation = Derivation::from_aterm_bytes(&aterm, path.name().strip_suffix(".drv")?).ok()?;
        Some((path, BasicDerivation::new(&derivation, []).ok()?))
    };
    read().ok_or_else(|| CheckError::Derivation(printed.chars().take(500).collect()))
}
