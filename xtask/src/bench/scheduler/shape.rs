//! Derivation graphs as the scheduler sees them: who needs whom, and what it asks of a machine.

use super::draws::Draws;

mod generated;
mod read;

pub(in crate::bench) use self::generated::Plan;

/// A graph, dependencies before what needs them.
#[derive(Debug, Default)]
pub(in crate::bench) struct Shape {
    pub(in crate::bench) builds: Vec<Build>,
    pub(in crate::bench) needs: Vec<Need>,
    pub(in crate::bench) dependents: Vec<Vec<u32>>,
}

/// A derivation.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Build {
    pub(in crate::bench) name: String,
    /// What it asks of a machine, one of the graph's needs.
    pub(in crate::bench) need: usize,
    pub(in crate::bench) fixed_output: bool,
    pub(in crate::bench) dependencies: Vec<u32>,
}

/// What builds ask of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bench) struct Need {
    pub(in crate::bench) system: String,
    pub(in crate::bench) features: Vec<String>,
}

impl Shape {
    fn new(builds: Vec<Build>, needs: Vec<Need>) -> Self {
        let mut dependents = vec![Vec::new(); builds.len()];
        for (at, build) in (0..).zip(&builds) {
            for &dependency in &build.dependencies {
                dependents[dependency as usize].push(at);
            }
        }
        Self { builds, needs, dependents }
    }

    /// Builds that need nothing of each other.
    pub(super) fn flat(builds: usize) -> Self {
        Self::plain((0..builds).map(|_| Vec::new()))
    }

    /// Builds that need up to two earlier ones each.
    pub(super) fn small(builds: usize, draws: &mut Draws) -> Self {
        let dependencies = |number: u32| {
            let mut dependencies: Vec<u32> = (0..number).filter(|_| draws.below(number as usize) < 2).take(2).collect();
            dependencies.retain(|_| draws.below(4) > 0);
            dependencies
        };
        Self::plain((0..).take(builds).map(dependencies))
    }

    fn plain(dependencies: impl Iterator<Item = Vec<u32>>) -> Self {
        let build = |(number, dependencies)| Build { name: word(number), need: 0, fixed_output: false, dependencies };
        let need = Need { system: "x86_64-linux".to_owned(), features: Vec::new() };
        Self::new((0..).zip(dependencies).map(build).collect(), vec![need])
    }

    pub(in crate::bench) fn need(&self, build: usize) -> &Need {
        &self.needs[self.builds[build].need]
    }

    pub(super) fn edges(&self) -> usize {
        self.builds.iter().map(|build| build.dependencies.len()).sum()
    }

    /// Longest chain, in builds.
    pub(super) fn depth(&self) -> usize {
        let mut depth = vec![0; self.builds.len()];
        for (at, build) in self.builds.iter().enumerate() {
            depth[at] = 1 + build.dependencies.iter().map(|&dependency| depth[dependency as usize]).max().unwrap_or(0);
        }
        depth.into_iter().max().unwrap_or(0)
    }

    /// Cuts the graph into so many evaluations, each a few of the builds that nothing depends on and all that they need.
    pub(super) fn evaluations(&self, count: usize, draws: &mut Draws) -> Vec<Vec<u32>> {
        if count <= 1 {
            return vec![(0..).zip(&self.builds).map(|(at, _)| at).collect()];
        }
        let mut wanted = vec![vec![false; self.builds.len()]; count];
        for (at, dependents) in self.dependents.iter().enumerate() {
            if dependents.is_empty() {
                wanted[draws.below(count)][at] = true;
            }
        }
        for wanted in &mut wanted {
            for at in (0..self.builds.len()).rev().filter(|&at| wanted[at]).collect::<Vec<_>>() {
                self.want(at, wanted);
            }
        }
        let chosen = |wanted: Vec<bool>| (0..).zip(wanted).filter(|(_, wanted)| *wanted).map(|(at, _)| at).collect();
        wanted.into_iter().map(chosen).collect()
    }

    fn want(&self, at: usize, wanted: &mut [bool]) {
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            for &dependency in &self.builds[at].dependencies {
                if !std::mem::replace(&mut wanted[dependency as usize], true) {
                    open.push(dependency as usize);
                }
            }
        }
    }
}

/// A number in letters: digits would be versions.
fn word(number: u32) -> String {
    number
        .to_string()
        .chars()
        .map(|digit| char::from(b'a' + u8::try_from(digit.to_digit(10).unwrap_or(0)).unwrap_or(0)))
        .collect()
}
