//! The flake that is evaluated: packages with the graph of a package set.

use anyhow::Result;
use gradient_test_support::deployment::FlakeRepository;
use serde_json::{Value, json};
use std::path::Path;

use super::Options;
use crate::bench::scheduler::draws::Draws;
use crate::bench::scheduler::shape::{Plan, Shape};

/// Where the attributes are.
pub(super) const SET: &str = "packages.x86_64-linux";

/// So many builds of a generated graph are there for every hundred that are no fetches.
const BUILDS_PER_HUNDRED: usize = 220;

/// A flake, and what is in it.
#[derive(Debug)]
pub(super) struct Flake {
    builds: Vec<Value>,
    attributes: Vec<Value>,
    edges: usize,
}

impl Flake {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let wanted = options.attributes;
        let plan = Plan { builds: wanted * BUILDS_PER_HUNDRED / 100 + 100, chained: 150, mixed: false, scarce: 10 };
        let shape = options.graph.as_deref().map_or_else(|| Ok(plan.generate(&mut Draws::new(1))), Shape::read)?;
        Ok(Self::of(&shape, wanted))
    }

    /// As many packages as are wanted, or all that there are, and what they need.
    fn of(shape: &Shape, wanted: usize) -> Self {
        let packages: Vec<usize> = (0..shape.builds.len()).filter(|&at| !shape.builds[at].fixed_output).collect();
        let step = (packages.len() / wanted.max(1)).max(1);
        let chosen: Vec<usize> = packages.into_iter().step_by(step).take(wanted).collect();
        let mut needed = vec![false; shape.builds.len()];
        for &at in &chosen {
            needed[at] = true;
        }
        for at in (0..shape.builds.len()).rev().filter(|&at| needed[at]).collect::<Vec<_>>() {
            require(shape, at, &mut needed);
        }
        let mut place = vec![0; shape.builds.len()];
        let (mut builds, mut edges) = (Vec::new(), 0);
        for at in (0..shape.builds.len()).filter(|&at| needed[at]) {
            let build = &shape.builds[at];
            place[at] = builds.len();
            let inputs: Vec<usize> = build.dependencies.iter().map(|&input| place[input as usize]).collect();
            edges += inputs.len();
            builds.push(json!([build.name, shape.need(at).system, build.fixed_output, inputs]));
        }
        let attribute = |&at: &usize| json!([format!("{}-{at}", shape.builds[at].name.replace('.', "_")), place[at]]);
        Self { attributes: chosen.iter().map(attribute).collect(), builds, edges }
    }

    pub(super) const fn attributes(&self) -> usize {
        self.attributes.len()
    }

    pub(super) const fn derivations(&self) -> usize {
        self.builds.len()
    }

    pub(super) const fn edges(&self) -> usize {
        self.edges
    }

    /// Makes a repository with it and gives its URL.
    pub(super) fn create(&self, folder: &Path) -> Result<String> {
        let repository = FlakeRepository::create(folder)?;
        repository.write("flake.nix", include_str!("flake.nix"))?;
        repository.write("packages.nix", include_str!("packages.nix"))?;
        let graph = json!({"builds": self.builds, "attributes": self.attributes});
        repository.write("graph.json", &graph.to_string())?;
        repository.commit("a package set")?;
        Ok(repository.url())
    }
}

/// Marks everything that a build needs.
fn require(shape: &Shape, at: usize, needed: &mut [bool]) {
    let mut open = vec![at];
    while let Some(at) = open.pop() {
        for &input in &shape.builds[at].dependencies {
            if !std::mem::replace(&mut needed[input as usize], true) {
                open.push(input as usize);
            }
        }
    }
}
