//! Brings what can be had without building it of what evaluators import from: from the organization, or from its upstreams.

use std::collections::HashSet;

use gradient_domain::Failure;
use gradient_nix::StorePath;
use gradient_nix_daemon::WantedBuilds;
use tokio::sync::mpsc;

use super::{
    files::{DerivationFiles, Recipe},
    roots::Roots,
};
use crate::{Machine, build, transfer::JobTransfer};

/// How many questions may wait: each evaluator waits for its own.
pub(super) const QUESTIONS: usize = 16;

/// A derivation, and which of its outputs are wanted; all of them where none is named.
type Wanted = (StorePath, Vec<String>);

/// Serves evaluators until none is left. What does not come, for whatever reason, Nix builds.
pub(super) async fn serve(
    machine: &Machine,
    transfer: &JobTransfer,
    files: &DerivationFiles,
    roots: &Roots,
    mut questions: mpsc::Receiver<WantedBuilds>,
) -> Result<(), Failure> {
    let mut substitution = Substitution { machine, transfer, files, roots, seen: HashSet::new() };
    while let Some(WantedBuilds { derivations, ready }) = questions.recv().await {
        if let Err(failure) = substitution.bring(derivations).await {
            tracing::warn!(error = failure.message, "what an evaluation imports from is built, though it may be there already");
        }
        // The evaluator may have left.
        let _ = ready.send(());
    }
    Ok(())
}

struct Substitution<'e> {
    machine: &'e Machine,
    transfer: &'e JobTransfer,
    files: &'e DerivationFiles,
    roots: &'e Roots,
    /// What has been looked for.
    seen: HashSet<Wanted>,
}

impl Substitution<'_> {
    /// From what is wanted downwards: nothing is looked for that only what is there needs.
    async fn bring(&mut self, wanted: Vec<Wanted>) -> Result<(), Failure> {
        let mut wave = wanted;
        loop {
            wave.retain(|wanted| self.seen.insert(wanted.clone()));
            if wave.is_empty() {
                return Ok(());
            }
            let recipes = self.files.recipes(wave.iter().map(|(derivation, _)| derivation.clone()).collect()).await?;
            let recipes = recipes.into_iter().zip(&wave).filter_map(|((_, recipe), (_, names))| Some((recipe.ok()?, names)));
            let recipes: Vec<(Recipe, Vec<Option<StorePath>>)> = recipes
                .map(|(recipe, names)| {
                    let is_wanted = |name: &String| names.is_empty() || names.contains(name);
                    let outputs =
                        recipe.outputs.iter().filter(|(name, _)| is_wanted(name)).map(|(_, path)| path.clone()).collect();
                    (recipe, outputs)
                })
                .collect();
            let outputs: Vec<StorePath> = recipes.iter().flat_map(|(_, outputs)| outputs).flatten().cloned().collect();
            let Some(mut there) = self.roots.hold_valid(&outputs).await else { return Ok(()) };
            let missing: Vec<StorePath> = outputs.into_iter().filter(|path| !there.contains(path)).collect();
            if !missing.is_empty() {
                there.extend(self.fetch(&missing).await?);
            }
            let is_there = |output: &Option<StorePath>| output.as_ref().is_some_and(|path| there.contains(path));
            let unbuilt = recipes.into_iter().filter(|(_, outputs)| !outputs.iter().all(is_there));
            wave = unbuilt.flat_map(|(recipe, _)| recipe.inputs).collect();
        }
    }

    /// Brings those of the paths that can be had; all that came.
    async fn fetch(&self, missing: &[StorePath]) -> Result<Vec<StorePath>, Failure> {
        let inputs = self.transfer.inputs(missing).await?;
        let paths: Vec<StorePath> = inputs.iter().map(|input| input.path.clone()).collect();
        if !inputs.is_empty() {
            self.roots.hold(&paths).await;
            build::bring(&self.machine.daemons, &inputs, self.transfer).await?;
        }
        Ok(paths)
    }
}
