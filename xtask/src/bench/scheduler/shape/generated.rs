//! Graphs with the figures of package sets: a serial bootstrap on which everything rests, more than half of all builds fetches that
//! need nothing else, six to seven dependencies of each build, some packages that many others use, chains some eighty to 120 long.

use super::{Build, Draws, Need, Shape, word};

/// The bootstrap's length.
const BOOTSTRAP: usize = 30;
/// How many of a hundred builds are fetches.
const FETCHES: usize = 53;

/// What graph is wanted.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Plan {
    pub(in crate::bench) builds: usize,
    /// How many of a thousand dependencies are on a package just before, which makes chains long.
    pub(in crate::bench) chained: usize,
    /// Whether a fourth of the builds is for a second system.
    pub(in crate::bench) mixed: bool,
    /// How many of a thousand builds need a feature that few machines have; a fourth of these needs a second one too.
    pub(in crate::bench) scarce: usize,
}

const X86: usize = 0;
const ARM: usize = 1;
const BIG: usize = 2;
const BIG_KVM: usize = 3;
const BUILTIN: usize = 4;

impl Plan {
    pub(in crate::bench) fn generate(self, draws: &mut Draws) -> Shape {
        let need = |system: &str, features: &[&str]| Need {
            system: system.to_owned(),
            features: features.iter().map(|&feature| feature.to_owned()).collect(),
        };
        let needs = vec![
            need("x86_64-linux", &[]),
            need("aarch64-linux", &[]),
            need("x86_64-linux", &["big-parallel"]),
            need("x86_64-linux", &["big-parallel", "kvm"]),
            need("builtin", &[]),
        ];
        let second = if self.mixed { self.builds / 4 } else { 0 };
        let mut builds = Vec::with_capacity(self.builds);
        self.add_world(&mut builds, self.builds - second, X86, draws);
        if second > 0 {
            self.add_world(&mut builds, second, ARM, draws);
        }
        Shape::new(builds, needs)
    }

    /// The packages of one system.
    fn add_world(self, builds: &mut Vec<Build>, count: usize, system: usize, draws: &mut Draws) {
        let start = builds.len();
        let bootstrap = BOOTSTRAP.min(count / 4);
        let mut packages: Vec<u32> = Vec::new();
        let mut fetches: Vec<u32> = Vec::new();
        while builds.len() - start < count {
            let number = u32::try_from(builds.len()).unwrap_or(u32::MAX);
            let in_bootstrap = packages.len() < bootstrap;
            // The bootstrap is all built, with a few fetches that it begins with.
            let is_fetch = if in_bootstrap { fetches.len() < 4 } else { draws.below(100) < FETCHES };
            let build = if is_fetch {
                fetches.push(number);
                let tools = if in_bootstrap { Vec::new() } else { packages[bootstrap - 1 - draws.below(3)..bootstrap].to_vec() };
                let need = if in_bootstrap { BUILTIN } else { system };
                Build { name: format!("{}-1.0.tar.gz", word(number)), need, fixed_output: true, dependencies: tools }
            } else {
                let dependencies = if in_bootstrap {
                    packages.last().copied().or_else(|| fetches.last().copied()).into_iter().collect()
                } else {
                    self.inputs(&packages, &fetches, bootstrap, draws)
                };
                packages.push(number);
                let need = self.need(system, in_bootstrap, draws);
                Build { name: name(number, draws), need, fixed_output: false, dependencies }
            };
            builds.push(build);
        }
    }

    fn need(self, system: usize, in_bootstrap: bool, draws: &mut Draws) -> usize {
        if system != X86 || in_bootstrap || draws.below(1000) >= self.scarce {
            return system;
        }
        if draws.below(4) == 0 { BIG_KVM } else { BIG }
    }

    /// The standard environment, a source or two, and packages: popular ones, or one just before.
    fn inputs(self, packages: &[u32], fetches: &[u32], bootstrap: usize, draws: &mut Draws) -> Vec<u32> {
        let mut inputs = packages[bootstrap - 2..bootstrap].to_vec();
        if let Some(newest) = fetches.len().checked_sub(1) {
            inputs.extend((0..=draws.below(2)).map(|_| fetches[newest - draws.below(6).min(newest)]));
        }
        let later = packages.len() - bootstrap;
        for _ in 0..draws.below(11) {
            if later == 0 {
                break;
            }
            let at = if draws.below(1000) < self.chained {
                later - 1 - draws.below(later.min(8))
            } else {
                draws.below(later).min(draws.below(later)).min(draws.below(later))
            };
            inputs.push(packages[bootstrap + at]);
        }
        inputs.sort_unstable();
        inputs.dedup();
        inputs
    }
}

/// Half of the packages belong to sets, in which builds take about as long.
fn name(number: u32, draws: &mut Draws) -> String {
    const SETS: [&str; 8] = ["perl5.36", "python3.11", "ruby3.1", "haskell", "nodejs", "kde", "gnome", "texlive"];
    match SETS.get(draws.below(2 * SETS.len())) {
        Some(set) => format!("{set}-{}-1.0", word(number)),
        None => format!("{}-1.0", word(number)),
    }
}
