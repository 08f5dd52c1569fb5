//! A derivation graph as an evaluation of a large package set finds it: a bootstrap that everything rests on, some packages that
//! many others use, chains some sixty levels deep. Every derivation is a real one: the server recomputes its paths.

use std::collections::{HashMap, VecDeque};

use anyhow::Result;
use gradient_protocol::{DerivationFile, EntryPoint};
use nix_derivation::store_path::StorePath;
use nix_derivation::{DerivationBuilder, InputDerivation, InputDerivationHash};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// The first derivations are a chain, the last of which every later one needs.
const BOOTSTRAP: usize = 20;

/// Inputs drawn by chance, besides the bootstrap and one package that nothing has needed yet.
const DRAWN_INPUTS: usize = 6;

/// How many derivations nothing depends on: the entry points.
const ENTRY_POINTS: usize = 500;

/// What an evaluation reports.
pub(super) struct Graph {
    /// Inputs before what needs them.
    pub(super) derivations: Vec<DerivationFile>,
    pub(super) entry_points: Vec<EntryPoint>,
    /// How many inputs all derivations have together.
    pub(super) edges: usize,
}

/// Makes one of so many derivations, each time the same one.
pub(super) fn generate(count: usize) -> Result<Graph> {
    let mut random = StdRng::seed_from_u64(1);
    let mut made = Made::default();
    let mut unneeded = VecDeque::new();
    for number in 0..count {
        let mut inputs = Vec::new();
        if let Some(base) = number.min(BOOTSTRAP).checked_sub(1) {
            inputs.push(base);
        }
        if number > BOOTSTRAP {
            inputs.extend((0..DRAWN_INPUTS).map(|_| popular(&mut random, number)));
            if unneeded.len() >= ENTRY_POINTS {
                inputs.extend(unneeded.pop_front());
            }
        }
        unneeded.retain(|other| !inputs.contains(other));
        made.add(&format!("package-{number}-1.{}", number % 17), &inputs)?;
        unneeded.push_back(number);
    }
    let attribute = |number: usize| {
        let (path, _) = made.all.get(number)?;
        Some(EntryPoint {
            attribute: format!("packages.x86_64-linux.package-{number}"),
            outcome: Ok(path.clone().into()),
            times: gradient_domain::BuildTimes::default(),
        })
    };
    let entry_points = unneeded.into_iter().filter_map(attribute).collect();
    Ok(Graph { entry_points, derivations: made.files, edges: made.edges })
}

/// Makes one of which so many derivations can be built at any time: each needs the first one, and the one that is so far before it.
/// Those that nothing needs are its entry points: nothing else would be built.
pub(super) fn wide(count: usize, width: usize) -> Result<Graph> {
    let mut made = Made::default();
    for number in 0..count {
        let mut inputs: Vec<usize> = (number > 0).then_some(0).into_iter().collect();
        inputs.extend(number.checked_sub(width).filter(|&before| before > 0));
        made.add(&format!("package-{number}-1.{}", number % 17), &inputs)?;
    }
    let attribute = |number: usize| {
        let (path, _) = made.all.get(number)?;
        Some(EntryPoint {
            attribute: format!("packages.x86_64-linux.package-{number}"),
            outcome: Ok(path.clone().into()),
            times: gradient_domain::BuildTimes::default(),
        })
    };
    let entry_points = (count.saturating_sub(width)..count).filter_map(attribute).collect();
    Ok(Graph { entry_points, derivations: made.files, edges: made.edges })
}

/// An earlier derivation; the earlier, the likelier, as libraries are used by more packages than programs are.
fn popular(random: &mut StdRng, below: usize) -> usize {
    let (a, b, c) = (random.random_range(0..below), random.random_range(0..below), random.random_range(0..below));
    a.min(b).min(c)
}

#[derive(Default)]
struct Made {
    files: Vec<DerivationFile>,
    /// The path of each derivation, and that of its output.
    all: Vec<(StorePath, String)>,
    hashes: HashMap<StorePath, InputDerivationHash>,
    edges: usize,
}

impl Made {
    fn add(&mut self, name: &str, inputs: &[usize]) -> Result<()> {
        let inputs: Vec<&(StorePath, String)> = inputs.iter().filter_map(|input| self.all.get(*input)).collect();
        let outputs: Vec<&str> = inputs.iter().map(|(_, output)| output.as_str()).collect();
        let mut builder = DerivationBuilder::new(name, "x86_64-linux", "/bin/sh")
            .argument("-e")
            .argument("/build/default-builder.sh")
            .input_addressed_output("out")
            .environment("name", name)
            .environment("system", "x86_64-linux")
            .environment("buildInputs", outputs.join(" "))
            .environment("configureFlags", "--enable-shared --disable-static ".repeat(12))
            .environment("patchPhase", "substituteInPlace Makefile --replace /usr/local $out\n".repeat(12));
        for (path, _) in inputs {
            builder = builder.input_derivation(path.clone(), InputDerivation::new(["out"]));
        }
        // Every input was made before.
        let hash_of = |path: &StorePath| self.hashes.get(path).copied().unwrap_or(InputDerivationHash::Deferred);
        let built = builder.build_with_input_hashes(hash_of)?;
        let edges = built.input_derivations().len();
        let hash = built.hash_input_derivation_modulo(hash_of)?;
        let output = built.resolved_outputs().remove("out").and_then(|output| output.path);
        let path = built.drv_path();
        self.files.push(DerivationFile { path: path.clone().into(), aterm: built.to_aterm_bytes() });
        self.hashes.insert(path.clone(), hash);
        self.edges += edges;
        self.all.push((path, output.map(|output| output.to_absolute_path()).unwrap_or_default()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::generate;

    #[test]
    fn a_graph_is_believed_and_has_the_wanted_shape() {
        let graph = generate(2000).unwrap();
        let mut hashes = HashMap::new();
        let mut inputs = 0;
        for file in &graph.derivations {
            let verified = gradient_nix::derivation::verify(&file.path, &file.aterm, |input| hashes.get(input).copied()).unwrap();
            inputs += verified.input_derivations().len();
            hashes.insert(file.path.clone(), verified.input_hash());
        }
        assert_eq!((graph.derivations.len(), graph.entry_points.len(), graph.edges), (2000, 500, inputs));
        assert!((12_000..16_000).contains(&inputs), "{inputs}");
    }
}
