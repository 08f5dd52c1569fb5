//! Why builds wait.

use gradient_domain::BuildWait;
use gradient_scheduler::{Event, NewBuild};

use crate::fixture::{Bench, build, new_build, worker};

fn explain(bench: &Bench, n: u128) -> Option<BuildWait> {
    bench.scheduler.explain_build(build(n), bench.moment(), bench.now)
}

#[test]
fn for_dependencies_that_have_not_ended() {
    let mut bench = Bench::new();
    bench.connect(1, 2);
    bench.evaluated(1, vec![new_build(1, &[]), new_build(2, &[]), new_build(3, &[1, 2])]);
    assert_eq!(explain(&bench, 3), Some(BuildWait::Dependencies { builds: vec![build(1), build(2)] }));
    bench.finish(crate::fixture::build_job(1), 1, 1);
    assert_eq!(explain(&bench, 3), Some(BuildWait::Dependencies { builds: vec![build(2)] }));
    assert_eq!((explain(&bench, 1), explain(&bench, 2), explain(&bench, 99)), (None, None, None));
}

#[test]
fn for_at_most_twenty_named_dependencies() {
    let mut bench = Bench::new();
    let mut builds: Vec<NewBuild> = (1..=30).map(|n| new_build(n, &[])).collect();
    builds.push(new_build(31, &(1..=30).collect::<Vec<_>>()));
    bench.evaluated(1, builds);
    assert!(matches!(explain(&bench, 31), Some(BuildWait::Dependencies { builds }) if builds.len() == 20));
}

#[test]
fn for_workers_that_are_not_there_or_leave() {
    let mut bench = Bench::new();
    let kvm = NewBuild { features: vec!["kvm".into()], ..new_build(1, &[]) };
    bench.evaluated(1, vec![kvm, new_build(2, &[])]);
    let wait = |features: &[&str]| BuildWait::Workers {
        architecture: "x86_64-linux".to_owned(),
        required_features: features.iter().map(|&feature| feature.to_owned()).collect(),
    };
    assert_eq!((explain(&bench, 1), explain(&bench, 2)), (Some(wait(&["kvm"])), Some(wait(&[]))));
    bench.connect(1, 0);
    assert_eq!(explain(&bench, 2), Some(wait(&[])));
    bench.evaluated(2, vec![new_build(3, &[])]);
    bench.connect(2, 1);
    bench.apply(Event::WorkerDraining { worker: worker(2) });
    assert_eq!(explain(&bench, 3), Some(BuildWait::Draining));
}

#[test]
fn for_a_slot_with_the_place_in_the_queue() {
    let mut bench = Bench::new();
    bench.connect(1, 1);
    bench.evaluated(1, (1..=3).map(|n| new_build(n, &[])).collect());
    let builtin = NewBuild { system: "builtin".into(), ..new_build(4, &[]) };
    bench.evaluated(2, vec![builtin]);
    let place = |n| match explain(&bench, n) {
        Some(BuildWait::Slots { position, .. }) => Some(position),
        _ => None,
    };
    assert_eq!([1, 2, 3, 4].map(place), [None, Some(0), Some(1), Some(2)]);
}
