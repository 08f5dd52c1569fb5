//! The files of derivations, read several at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read as _},
    num::NonZero,
    path::Path,
    sync::Arc,
    thread::available_parallelism,
};

use futures_util::future::try_join_all;
use gradient_domain::{Failure, FailureKind};
use gradient_nix::{Derivation, StorePath};
use gradient_nix_daemon::DerivationKeeper as _;
use tokio::task::spawn_blocking;

use super::drafts::Drafts;
use crate::{Machine, job::failure, nix::Nix};

/// The largest derivation that fits a message.
const MAX_DERIVATION_BYTES: u64 = 3 << 20;

/// How many are worth a thread of their own.
const FILES_PER_THREAD: usize = 32;

/// The most threads that read at a time.
const MAX_THREADS: usize = 4;

/// Where the derivations of an evaluation are: where its evaluators wrote them, or in the store.
#[derive(Debug, Clone)]
pub(super) struct DerivationFiles(Arc<Places>);

#[derive(Debug)]
struct Places {
    nix: Nix,
    drafts: Option<Arc<Drafts>>,
}

/// What a derivation needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) derivations: Vec<StorePath>,
    pub(super) sources: BTreeSet<StorePath>,
}

/// What a derivation makes, and of what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    /// The paths of its outputs, by name, where they are known.
    pub(super) outputs: BTreeMap<String, Option<StorePath>>,
    /// The derivations that it needs, and which outputs of them.
    pub(super) inputs: Vec<(StorePath, Vec<String>)>,
}

impl DerivationFiles {
    pub(super) fn new(machine: &Machine, drafts: Option<Arc<Drafts>>) -> Self {
        Self(Arc::new(Places { nix: machine.nix.clone(), drafts }))
    }

    /// What each of the derivations needs, or why it cannot be read.
    pub(super) async fn needs(&self, paths: Vec<StorePath>) -> Result<Vec<(StorePath, Result<Needs, String>)>, Failure> {
        self.each(paths, Places::needs).await
    }

    /// What each of the derivations makes, in the same order, or why it cannot be read.
    pub(super) async fn recipes(&self, paths: Vec<StorePath>) -> Result<Vec<(StorePath, Result<Recipe, String>)>, Failure> {
        self.each(paths, Places::recipe).await
    }

    /// The bytes of each of the derivations, in the same order.
    pub(super) async fn aterms(&self, paths: Vec<StorePath>) -> Result<Vec<(StorePath, Result<Vec<u8>, String>)>, Failure> {
        self.each(paths, Places::aterm).await
    }

    /// What one of them is built on, when it can be read.
    pub(super) async fn system(&self, path: &StorePath) -> Result<Option<String>, Failure> {
        let systems =
            self.each(vec![path.clone()], |places, path| Some(places.derivation(path).ok()?.system().to_owned())).await?;
        Ok(systems.into_iter().find_map(|(_, system)| system))
    }

    async fn each<T: Send + 'static>(
        &self,
        paths: Vec<StorePath>,
        read: fn(&Places, &StorePath) -> T,
    ) -> Result<Vec<(StorePath, T)>, Failure> {
        let threads = available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
        let per_thread = paths.len().div_ceil(threads).max(FILES_PER_THREAD);
        let parts = paths.chunks(per_thread).map(|part| {
            let (places, part) = (Arc::clone(&self.0), part.to_vec());
            spawn_blocking(move || -> Vec<(StorePath, T)> {
                part.into_iter().map(|path| (path.clone(), read(&places, &path))).collect()
            })
        });
        let parts = try_join_all(parts).await;
        let parts = parts.map_err(|error| failure(FailureKind::Transient, format!("reading derivations stopped: {error}")))?;
        Ok(parts.into_iter().flatten().collect())
    }
}

impl Places {
    fn aterm(&self, path: &StorePath) -> Result<Vec<u8>, String> {
        let unreadable = |error: io::Error| format!("cannot read {path}: {error}");
        let kept = self.drafts.as_ref().map_or(Ok(None), |drafts| drafts.kept(path)).map_err(unreadable)?;
        let aterm = kept.map_or_else(|| read(&self.nix.real_path(path)), Ok).map_err(unreadable)?;
        if u64::try_from(aterm.len()).unwrap_or(u64::MAX) > MAX_DERIVATION_BYTES {
            return Err(format!("{path} is larger than {MAX_DERIVATION_BYTES} bytes"));
        }
        Ok(aterm)
    }

    fn derivation(&self, path: &StorePath) -> Result<Derivation, String> {
        let aterm = self.aterm(path)?;
        let name = path.name().strip_suffix(".drv").ok_or_else(|| format!("{path} is not a derivation"))?;
        Derivation::from_aterm_bytes(&aterm, name).map_err(|error| format!("cannot read {path}: {error}"))
    }

    fn recipe(&self, path: &StorePath) -> Result<Recipe, String> {
        let derivation = self.derivation(path)?;
        let outputs = derivation.outputs().iter().map(|(name, output)| {
            let path = output.path(derivation.name(), name).ok().flatten();
            (name.clone(), path.map(StorePath::from))
        });
        let inputs = derivation.input_derivations().iter();
        let inputs = inputs.map(|(path, input)| (path.clone().into(), input.outputs().iter().cloned().collect()));
        Ok(Recipe { outputs: outputs.collect(), inputs: inputs.collect() })
    }

    fn needs(&self, path: &StorePath) -> Result<Needs, String> {
        let derivation = self.derivation(path)?;
        Ok(Needs {
            derivations: derivation.input_derivations().keys().cloned().map(StorePath::from).collect(),
            sources: derivation.input_sources().iter().cloned().map(StorePath::from).collect(),
        })
    }
}

/// A file, as far as it may be read.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut aterm = Vec::new();
    File::open(path)?.take(MAX_DERIVATION_BYTES + 1).read_to_end(&mut aterm)?;
    Ok(aterm)
}
