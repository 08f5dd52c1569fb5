//! Shares the attributes of a round among evaluator processes. What a process has evaluated once it knows, and another one does
//! not: each takes neighbours, which have most in common, and none is started a second time. Two processes walk towards each other
//! from both ends of a stretch, and end when they meet, so that both have work until then, however long each attribute takes.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::try_join_all;
use gradient_domain::Failure;
use tokio::sync::mpsc;

use super::{
    evaluator::{Answer, Query},
    probe::NixInstantiate,
};

/// How many attributes are worth a process of their own.
const ATTRIBUTES_PER_PROCESS: usize = 200;

/// Evaluates all queries of a round, in several processes when there are many.
pub(super) async fn ask(evaluator: &NixInstantiate<'_>, queries: &[Query], answers: mpsc::Sender<Answer>) -> Result<(), Failure> {
    let processes = queries.len().div_ceil(ATTRIBUTES_PER_PROCESS).clamp(1, evaluator.processes());
    let claims = Claims::new(queries.len());
    let walks = walks(queries.len(), processes);
    try_join_all((1..).zip(&walks).map(|(walker, places)| {
        let (claims, answers) = (&claims, &answers);
        let queries: Vec<&Query> = places.iter().filter_map(|&place| queries.get(place)).collect();
        async move {
            let claim = |number: usize| places.get(number).is_some_and(|&place| claims.claim(place, walker));
            evaluator.walk(&queries, &claim, answers).await
        }
    }))
    .await?;
    Ok(())
}

/// The ways of so many processes over so many queries: each pair has a stretch, and a last one without a partner half as much.
fn walks(queries: usize, processes: usize) -> Vec<Vec<usize>> {
    let stretch = |pair: usize| {
        let border = |process: usize| queries * process.min(processes) / processes;
        border(2 * pair)..border(2 * pair + 2)
    };
    let walk = |process: usize| {
        let stretch = stretch(process / 2);
        if process.is_multiple_of(2) { stretch.collect() } else { stretch.rev().collect() }
    };
    (0..processes).map(walk).collect()
}

/// Which query is whose.
#[derive(Debug)]
struct Claims(Vec<AtomicUsize>);

impl Claims {
    const NOBODY: usize = 0;

    fn new(queries: usize) -> Self {
        Self((0..queries).map(|_| AtomicUsize::new(Self::NOBODY)).collect())
    }

    /// Whether the query is this walker's, from now on or since before.
    fn claim(&self, query: usize, walker: usize) -> bool {
        self.0.get(query).is_some_and(|owner| {
            match owner.compare_exchange(Self::NOBODY, walker, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => true,
                Err(owner) => owner == walker,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_walk_towards_each_other() {
        assert_eq!(walks(3, 1), [[0, 1, 2]]);
        assert_eq!(walks(3, 2), [[0, 1, 2], [2, 1, 0]]);
        assert_eq!(walks(6, 3), [vec![0, 1, 2, 3], vec![3, 2, 1, 0], vec![4, 5]]);
        assert_eq!(walks(4, 4), [[0, 1], [1, 0], [2, 3], [3, 2]]);
        assert_eq!(walks(1, 4).concat().len(), 2, "an attribute at most twice, and each once");
    }

    #[test]
    fn a_query_is_one_walkers() {
        let claims = Claims::new(2);
        assert!(claims.claim(1, 7) && claims.claim(1, 7));
        assert!(!claims.claim(1, 8));
        assert!(claims.claim(0, 8));
        assert!(!claims.claim(2, 8));
    }
}
