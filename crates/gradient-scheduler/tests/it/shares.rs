//! Organizations beside each other: what one has had of the workers lately counts.

use std::time::Duration;

use gradient_scheduler::{Event, NewBuild, NewEvaluation, Stage};

use crate::fixture::{
    Bench, Outcome, build_job, evaluation, machine, new_build, new_evaluation, organization, seconds, serves, worker,
};

const OTHER: u128 = 2;

/// A worker of both, with so many slots.
fn both(slots: u32) -> Bench {
    let mut bench = Bench::new();
    bench.apply(Event::WorkerConnected {
        worker: worker(1),
        organizations: vec![serves(1), serves(OTHER)],
        capabilities: machine(slots),
        running: vec![],
    });
    bench
}

fn wants(bench: &mut Bench, of: u128, builds: std::ops::Range<u128>) -> Outcome {
    let builds = builds.map(|n| NewBuild { organization: organization(of), ..new_build(n, &[]) }).collect();
    bench.all([
        Event::EvaluationAdded(NewEvaluation { organization: organization(of), ..new_evaluation(of, Stage::Build) }),
        Event::BuildsAdded { evaluation: evaluation(of), builds },
        Event::EvaluationSealed { evaluation: evaluation(of), had_errors: false },
    ])
}

/// Lets so many of the only slot's builds end, each after so long; whose the next ones are.
fn run(bench: &mut Bench, mut running: u128, each: Duration, builds: usize) -> Vec<u128> {
    let mut owners = Vec::new();
    for _ in 0..builds {
        bench.pass(each);
        let next = bench.finish(build_job(running), 1, 1).assigned_builds();
        assert_eq!(next.len(), 1, "the slot is never free");
        running = next[0];
        owners.push(if running < 1000 { 1 } else { OTHER });
    }
    owners
}

#[test]
fn who_has_had_much_waits_for_who_comes() {
    let mut bench = both(1);
    let first = wants(&mut bench, 1, 1..900).assigned_builds()[0];
    // Five minutes for itself.
    assert_eq!(run(&mut bench, first, seconds(30), 10), [1; 10]);
    let running = 11;
    wants(&mut bench, OTHER, 1000..1900);
    let owners = run(&mut bench, running, seconds(30), 40);
    let begin = owners.iter().take_while(|&&owner| owner == OTHER).count();
    assert!((5..=8).contains(&begin), "the other one has the slot first: {owners:?}");
    let rest = &owners[begin..];
    let of_first = rest.iter().filter(|&&owner| owner == 1).count();
    assert!(of_first.abs_diff(rest.len() - of_first) <= 2, "and then they take turns: {owners:?}");
}

#[test]
fn what_is_long_ago_does_not_count() {
    let mut bench = both(1);
    let first = wants(&mut bench, 1, 1..30).assigned_builds()[0];
    run(&mut bench, first, seconds(30), 10);
    // It waits for something else meanwhile: the other one has the slot for a quarter of an hour.
    bench.abort(1, true);
    bench.finish(build_job(11), 1, 1);
    let running = wants(&mut bench, OTHER, 1000..1900).assigned_builds()[0];
    assert_eq!(run(&mut bench, running, seconds(30), 30), [OTHER; 30]);
    let builds = (100..130).map(|n| new_build(n, &[])).collect();
    bench.evaluated(3, builds);
    let owners = run(&mut bench, 1030, seconds(30), 10);
    assert_eq!(owners, [1; 10], "what it had before is forgotten");
}

#[test]
fn short_builds_are_no_more_than_long_ones_of_the_same_time() {
    let mut bench = both(1);
    bench.apply(Event::ShareChanged { organization: organization(OTHER), weight: 100 });
    wants(&mut bench, 1, 1..900);
    wants(&mut bench, OTHER, 1000..1900);
    let mut had = [Duration::ZERO; 2];
    let mut running = 1;
    for _ in 0..200 {
        // Those of the first take a second, those of the other twenty.
        let of = usize::from(running >= 1000);
        let took = seconds([1, 20][of]);
        had[of] += took;
        bench.pass(took);
        running = bench.finish(build_job(running), 1, 1).assigned_builds()[0];
    }
    let [first, other] = had.map(|had| had.as_secs());
    assert!(first.abs_diff(other) <= 40, "{first} s and {other} s");
}
