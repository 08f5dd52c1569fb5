use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use gradient_domain::Moment;
use gradient_nix::{NarHash, StorePathHash};
use gradient_storage::{PathHashList, cache_retention::Claim};

use super::{
    graph::{Graph, Loading},
    plan::{Plan, Rules},
};

const ALL: Rules = Rules { unused_since: None, max_bytes: None };

fn hash(number: usize) -> StorePathHash {
    format!("{number:032}").parse().unwrap()
}

/// A path with a NAR of its own of ten bytes, used at this time.
fn claim(number: usize, references: &[usize], used: i64) -> Claim {
    let mut nar = [0; 32];
    nar[..8].copy_from_slice(&number.to_le_bytes());
    Claim {
        hash: hash(number),
        nar_hash: NarHash(nar),
        file_size: 10,
        references: PathHashList(references.iter().map(|number| hash(*number)).collect()),
        claimed_at: Moment::from_micros(used),
        last_fetched_at: None,
    }
}

fn graph(claims: &[Claim]) -> Graph {
    let mut loading = Loading::default();
    for claim in claims {
        loading.add(claim);
    }
    loading.finish()
}

fn since(micros: i64) -> Rules {
    Rules { unused_since: Some(Moment::from_micros(micros)), ..ALL }
}

/// The numbers of what goes, in the order in which it does.
fn doomed(claims: &[Claim], held: &[usize], rules: Rules) -> Vec<usize> {
    let held: Vec<_> = held.iter().map(|number| hash(*number)).collect();
    let plan = Plan::new(graph(claims), &held, rules);
    plan.doomed().map(|node| node.hash.to_string().parse().unwrap()).collect()
}

#[test]
fn what_is_needed_is_used_whenever_what_needs_it_is() {
    let claims = [claim(1, &[1, 2], 50), claim(2, &[3], 1), claim(3, &[], 1), claim(4, &[3], 1), claim(5, &[4, 9], 1)];
    assert_eq!(doomed(&claims, &[], ALL), Vec::<usize>::new());
    assert_eq!(doomed(&claims, &[], since(50)), [5, 4]);
    assert_eq!(doomed(&claims, &[], since(51)).len(), 5);
    assert_eq!(doomed(&claims, &[4], since(51)), [5, 1, 2], "what is held stays with what it needs");
    assert_eq!(doomed(&claims, &[5, 77], since(51)), [1, 2], "that something else is held does not matter");
}

#[test]
fn what_was_not_used_for_the_longest_time_goes_until_the_rest_fits() {
    let claims = [claim(1, &[2], 5), claim(2, &[], 1), claim(3, &[], 4), claim(4, &[2], 2), claim(5, &[], 3)];
    let fit = |max_bytes, held: &[usize]| doomed(&claims, held, Rules { max_bytes: Some(max_bytes), ..ALL });
    assert_eq!(fit(50, &[]), Vec::<usize>::new());
    assert_eq!(fit(49, &[]), [4]);
    assert_eq!(fit(20, &[]), [4, 5, 3], "2 is needed by 1");
    assert_eq!(fit(10, &[]), [4, 5, 3, 1]);
    assert_eq!(fit(0, &[]), [4, 5, 3, 1, 2]);
    assert_eq!(fit(0, &[1]), [4, 5, 3], "what is held may be too much");
    let both = Rules { unused_since: Some(Moment::from_micros(3)), max_bytes: Some(30) };
    assert_eq!(doomed(&claims, &[], both), [4, 5], "what goes for its age makes room");
}

#[test]
fn paths_with_the_same_nar_make_room_together() {
    let mut claims = [claim(1, &[], 1), claim(2, &[], 2), claim(3, &[], 3)];
    claims[1].nar_hash = claims[0].nar_hash;
    assert_eq!(doomed(&claims, &[], Rules { max_bytes: Some(20), ..ALL }), Vec::<usize>::new());
    assert_eq!(doomed(&claims, &[], Rules { max_bytes: Some(10), ..ALL }), [1, 2]);
}

#[test]
fn paths_that_refer_to_each_other_go_together() {
    let claims = [claim(1, &[2], 1), claim(2, &[1, 3], 1), claim(3, &[], 9), claim(4, &[1], 1)];
    let plan = Plan::new(graph(&claims), &[], since(5));
    let numbers = |range| plan.nodes_of(range).map(|node| node.hash).collect::<BTreeSet<_>>();
    let first = plan.batch(0, 1);
    assert_eq!(numbers(first.clone()), BTreeSet::from([hash(4)]));
    let second = plan.batch(first.end, 1);
    assert_eq!(numbers(second.clone()), BTreeSet::from([hash(1), hash(2)]));
    assert!(plan.batch(second.end, 1).is_empty());
    assert_eq!(doomed(&claims, &[2], since(5)), [4]);
}

#[test]
fn what_is_spared_spares_what_it_needs() {
    let claims = [claim(1, &[2], 1), claim(2, &[3], 1), claim(3, &[], 1), claim(4, &[3], 1)];
    let plan = Plan::new(graph(&claims), &[], since(5));
    let mut spared = vec![false; plan.components()];
    spared[plan.component(hash(2)).unwrap()] = true;
    let gone: BTreeSet<_> = plan.unneeded(plan.batch(0, 500), &mut spared).into_iter().collect();
    assert_eq!(gone, BTreeSet::from([hash(1), hash(4)]));
}

/// Numbers that look random, the same each time.
pub(super) struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// So many paths, which refer to some of those before them.
fn random(dice: &mut Dice, count: usize, references: usize) -> Vec<Claim> {
    let mut claims = Vec::with_capacity(count);
    for number in 0..count {
        let times = if number > 0 { dice.roll(references + 1) } else { 0 };
        let some: BTreeSet<usize> = (0..times).map(|_| dice.roll(number)).collect();
        let some: Vec<usize> = some.into_iter().collect();
        claims.push(claim(number, &some, i64::try_from(dice.roll(100)).unwrap()));
    }
    claims
}

#[test]
fn no_closure_is_ever_broken() {
    let mut dice = Dice(1);
    for _ in 0..300 {
        let claims = random(&mut dice, 40, 3);
        let held: BTreeSet<usize> = (0..dice.roll(4)).map(|_| dice.roll(40)).collect();
        let unused_since = (dice.roll(2) == 0).then(|| Moment::from_micros(i64::try_from(dice.roll(110)).unwrap()));
        let max_bytes = (dice.roll(2) == 0).then(|| u64::try_from(dice.roll(400)).unwrap());
        let rules = Rules { unused_since, max_bytes };
        let held: Vec<usize> = held.into_iter().collect();
        let mut left: BTreeMap<StorePathHash, &Claim> = claims.iter().map(|claim| (claim.hash, claim)).collect();
        for number in doomed(&claims, &held, rules) {
            left.remove(&hash(number));
            for claim in left.values() {
                assert!(claim.references.0.iter().all(|reference| left.contains_key(reference)), "{} is needed", hash(number));
            }
        }
        assert!(held.iter().all(|number| left.contains_key(&hash(*number))));
        if let Some(since) = unused_since.filter(|_| max_bytes.is_none()) {
            assert!(claims.iter().filter(|claim| claim.claimed_at >= since).all(|claim| left.contains_key(&claim.hash)));
        }
        if let (Some(max), []) = (max_bytes, held.as_slice()) {
            assert!(u64::try_from(left.len() * 10).unwrap() <= max);
        }
    }
}

/// Run by `cargo xtask bench collect`.
#[test]
#[ignore = "prints how long it takes"]
fn the_mark_is_fast() {
    for count in [10_000, 100_000, 1_000_000] {
        let mut dice = Dice(7);
        let claims = random(&mut dice, count, 16);
        let references: usize = claims.iter().map(|claim| claim.references.0.len()).sum();
        let before = memory();
        let began = Instant::now();
        let graph = graph(&claims);
        let loaded = began.elapsed();
        let rules = Rules { unused_since: Some(Moment::from_micros(50)), max_bytes: Some(u64::try_from(count).unwrap()) };
        let plan = Plan::new(graph, &[hash(0), hash(count / 2)], rules);
        let marked = began.elapsed().saturating_sub(loaded);
        let bytes = memory().saturating_sub(before) / count;
        println!(
            "{count} paths, {references} references: read in {loaded:?}, marked in {marked:?}, {} go, {bytes} bytes a path",
            plan.doomed().count()
        );
    }
}

/// The resident memory of this process in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<usize>().ok()).unwrap_or(0) * 1024
}
