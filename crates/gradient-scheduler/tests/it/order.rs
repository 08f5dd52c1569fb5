//! Random graphs on one slot: each build that begins is the one that a plain look at the whole graph chooses.

use std::time::Duration;

use gradient_scheduler::{Event, NewBuild, Stage};
use proptest::{collection::vec, prelude::*};

use crate::fixture::{Bench, build_job, evaluation, new_build, new_evaluation, seconds};

/// The builds that one needs, as bits, and how long it is expected to run, in seconds.
type Drawn = (u32, u8);

/// Of those that take a second at most, several begin at once.
fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    vec((any::<u32>(), 2..=u8::MAX), 1..14)
}

struct Plain {
    dependencies: Vec<Vec<u128>>,
    expected: Vec<Duration>,
}

impl Plain {
    fn new(drawn: &[Drawn]) -> Self {
        let needs = |n: usize, bits: u32| (0..n).filter(|m| bits & (1 << m) != 0).map(|m| m as u128).collect();
        Self {
            dependencies: drawn.iter().enumerate().map(|(n, &(bits, _))| needs(n, bits)).collect(),
            expected: drawn.iter().map(|&(_, secs)| seconds(u64::from(secs))).collect(),
        }
    }

    fn event(&self, n: usize) -> NewBuild {
        NewBuild { expected: self.expected[n], ..new_build(n as u128, &self.dependencies[n]) }
    }

    /// The longest way from a build to one that nothing waits for.
    fn rank(&self, n: usize) -> Duration {
        let dependents = (n + 1..self.expected.len()).filter(|&m| self.dependencies[m].contains(&(n as u128)));
        self.expected[n] + dependents.map(|m| self.rank(m)).max().unwrap_or_default()
    }

    /// Of the builds whose dependencies are done, the one with the longest way; of several the oldest.
    fn next(&self, done: &[u128]) -> Option<u128> {
        let is_ready = |n: &usize| !done.contains(&(*n as u128)) && self.dependencies[*n].iter().all(|m| done.contains(m));
        let ready = (0..self.expected.len()).filter(is_ready);
        ready.max_by_key(|&n| (self.rank(n), std::cmp::Reverse(n))).map(|n| n as u128)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_longest_expected_way_comes_first(drawn in drawn(), part in 1..14_usize) {
        let plain = Plain::new(&drawn);
        let mut bench = Bench::new();
        bench.apply(Event::EvaluationAdded(new_evaluation(1, Stage::Build)));
        let all: Vec<usize> = (0..drawn.len()).collect();
        for part in all.chunks(part) {
            let builds = part.iter().map(|&n| plain.event(n)).collect();
            bench.apply(Event::BuildsAdded { evaluation: evaluation(1), builds });
        }
        bench.apply(Event::EvaluationSealed { evaluation: evaluation(1), had_errors: false });
        let mut began = bench.connect(1, 1).assigned_builds();
        let mut done = Vec::new();
        while let Some(next) = plain.next(&done) {
            prop_assert_eq!(&began, &[next]);
            done.push(next);
            began = bench.finish(build_job(next), 1, 1).assigned_builds();
        }
        prop_assert_eq!(began, Vec::<u128>::new());
    }
}
