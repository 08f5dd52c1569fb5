//! The simulated worlds are what they say.

use super::baselines::Baseline;
use super::draws::Draws;
use super::fleet::Machines;
use super::shape::{Plan, Shape};
use super::trace::{Conditions, Trace};
use super::{bounds, cases, exact, greedy};

const CONDITIONS: Conditions = Conditions { seed: 1, evaluations: 1, failing: 0, noise: 0.0 };

fn slots(count: u32) -> Vec<Machines> {
    vec![Machines { systems: vec!["x86_64-linux".to_owned()], features: Vec::new(), slots: count, count: 1 }]
}

#[test]
fn generated_graphs_have_the_figures_of_package_sets() {
    let shape = Plan { builds: 20_000, chained: 50, mixed: false, scarce: 10 }.generate(&mut Draws::new(1));
    let per_build = shape.edges() / shape.builds.len();
    assert!((4..8).contains(&per_build), "{per_build} edges a build");
    assert!((60..200).contains(&shape.depth()), "{} deep", shape.depth());
    let fetches = shape.builds.iter().filter(|build| build.fixed_output).count();
    assert!((10_000..11_500).contains(&fetches), "{fetches} fetches");
}

#[test]
fn durations_are_heavy_tailed() {
    let shape = Plan { builds: 20_000, chained: 50, mixed: false, scarce: 0 }.generate(&mut Draws::new(1));
    let mut took = Trace::new(&shape, CONDITIONS).took;
    took.sort_unstable();
    let mean = took.iter().sum::<u64>() / 20_000;
    assert!((2_000..5_000).contains(&took[10_000]), "median {}", took[10_000]);
    assert!((8_000..18_000).contains(&mean), "mean {mean}");
    assert!(took[19_999] > 600_000, "most {}", took[19_999]);
}

#[test]
fn the_same_seed_is_the_same_world_and_nothing_beats_the_bound() {
    for seed in 0..8 {
        let scored = cases::score(seed, None).unwrap();
        for ratio in scored.production.iter().chain(&scored.baselines) {
            assert!(*ratio > 0.999_999, "{ratio}: {}", scored.label);
        }
        if seed < 2 {
            assert_eq!(format!("{scored:?}"), format!("{:?}", cases::score(seed, None).unwrap()));
        }
    }
}

#[test]
fn the_best_schedule_of_a_few_builds_is_found() {
    let shape = Shape::flat(5);
    let mut trace = Trace::new(&shape, CONDITIONS);
    trace.fleet = slots(2);
    trace.took = vec![3, 3, 2, 2, 2];
    assert_eq!(greedy::makespan(&trace, &[3, 3, 2, 2, 2]), 7);
    assert_eq!(exact::makespan(&trace, 7), Some(6));
    assert_eq!(bounds::of(&trace).best.to_bits(), 6.0_f64.to_bits());
    trace.fleet = slots(1);
    assert!(Baseline::ALL.iter().all(|baseline| baseline.makespan(&trace, &trace.estimates(CONDITIONS, 1.0), 1) == 12));
}
