//! What an evaluation needs, from its entry points down. What an upstream has is not built, and nothing that only it needs is asked
//! for, built or fetched.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    time::Duration,
};

use gradient_domain::{BuildStatus, OrganizationId};
use gradient_nix::StorePath;
use gradient_storage::builds::LatestBuild;
use tokio::time::Instant;

use super::{
    found::{Memory, Reach},
    node,
};
use crate::{
    Engine, EngineError,
    substituter::{Found as Answer, Question, Substitutes},
};

/// How long upstreams are asked for one part, and for an evaluation. What they have not said by then is built.
const MAX_ASKING: Duration = Duration::from_secs(20);
const MAX_ASKING_IN_ALL: Duration = Duration::from_mins(10);

/// What becomes of a derivation that an evaluation has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Only what has ended needs it: it is shown with the evaluation when it has its outputs.
    Behind,
    /// Its newest build counts if that can serve, or else it is to be built.
    Build,
    /// An upstream has its outputs.
    Substitute,
    /// An upstream that had its outputs has them no longer.
    Rebuild,
}

/// One derivation of a plan.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) path: StorePath,
    pub(super) verdict: Verdict,
    /// Whether what it needs is not looked at, because its newest build has its outputs or will not be asked for them.
    pub(super) is_leaf: bool,
}

/// What is to be done for entry points.
#[derive(Debug)]
pub(super) struct Plan {
    /// In an order in which each comes after what it needs.
    pub(super) steps: Vec<Step>,
    /// What only ended builds need, as far as it is not in memory.
    pub(super) behind: Vec<StorePath>,
}

/// Who wants something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Want {
    /// Something that has ended.
    Behind,
    /// A build that waits, or runs: what it was begun with is believed to be there.
    Underway,
    /// What is to be built.
    Build,
    /// Whoever reads the caches.
    EntryPoint,
}

/// How to find out what becomes of a derivation.
enum Look {
    /// It is this already, and what it needs is wanted so.
    Known(Verdict, Option<Want>),
    /// By asking for its outputs.
    Ask,
}

fn look(latest: Option<&LatestBuild>, was_refused: bool, want: Want) -> Look {
    let Some(latest) = latest else {
        return if want == Want::Behind { Look::Known(Verdict::Behind, None) } else { Look::Ask };
    };
    let completed = latest.status == BuildStatus::Completed;
    match (want, latest.status) {
        (Want::Behind, _) => Look::Known(Verdict::Behind, completed.then_some(Want::Behind)),
        (_, BuildStatus::Completed) => Look::Known(Verdict::Build, Some(Want::Behind)),
        (_, BuildStatus::Queued | BuildStatus::Building) => Look::Known(Verdict::Build, Some(Want::Underway)),
        (_, BuildStatus::Failed) if latest.is_reusable() && !was_refused => Look::Known(Verdict::Build, Some(Want::Behind)),
        (Want::Underway, BuildStatus::Substituted) => Look::Known(Verdict::Build, None),
        _ => Look::Ask,
    }
}

fn judge(answer: Answer, latest: Option<&LatestBuild>) -> (Verdict, Option<Want>) {
    let was_there = latest.is_some_and(|latest| latest.status == BuildStatus::Substituted);
    match answer {
        Answer::There => (Verdict::Substitute, None),
        // Who does not answer takes nothing back.
        Answer::Unanswered if was_there => (Verdict::Build, None),
        Answer::Absent if was_there => (Verdict::Rebuild, Some(Want::Build)),
        Answer::Absent | Answer::Unanswered => (Verdict::Build, Some(Want::Build)),
    }
}

/// What has been decided on the way.
#[derive(Default)]
struct Visited {
    decided: HashMap<StorePath, (Want, Verdict, bool)>,
    behind: HashSet<StorePath>,
}

impl Visited {
    /// Whether this is news about a derivation.
    fn is_news(&self, path: &StorePath, want: Want) -> bool {
        self.decided.get(path).is_none_or(|(before, ..)| *before < want)
    }
}

/// Decides about all that the entry points need and that was not decided before.
pub(super) async fn plan(
    engine: &Engine,
    organization: OrganizationId,
    memory: &mut Memory,
    roots: &[StorePath],
) -> Result<Plan, EngineError> {
    let places = engine.substitutes(organization).await?;
    let began = Instant::now();
    let until = began + MAX_ASKING.min(MAX_ASKING_IN_ALL.saturating_sub(memory.asked_for));
    let mut visited = Visited::default();
    let mut wave: Vec<(StorePath, Want)> = roots.iter().map(|root| (root.clone(), Want::EntryPoint)).collect();
    while !wave.is_empty() {
        let news = news(engine, organization, memory, &mut visited, wave).await?;
        wave = decide(engine, &places, memory, &mut visited, news, until).await?;
    }
    if !places.is_empty() {
        memory.asked_for += began.elapsed();
    }
    let behind = std::mem::take(&mut visited.behind).into_iter().collect();
    Ok(Plan { steps: inputs_first(memory, visited.decided, roots), behind })
}

/// Those of a wave that are to be decided, each once, with what is known of them in memory.
async fn news(
    engine: &Engine,
    organization: OrganizationId,
    memory: &mut Memory,
    visited: &mut Visited,
    wave: Vec<(StorePath, Want)>,
) -> Result<Vec<(StorePath, Want)>, EngineError> {
    let mut wants: HashMap<StorePath, Want> = HashMap::with_capacity(wave.len());
    for (path, want) in wave {
        if is_settled(memory, &path, want) || !visited.is_news(&path, want) {
            continue;
        }
        match wants.entry(path) {
            Entry::Occupied(mut before) => _ = before.insert((*before.get()).max(want)),
            Entry::Vacant(place) => _ = place.insert(want),
        }
    }
    // What ended builds need is many, and only to be shown: it is found by its ids.
    let unread = wants.iter().filter(|(path, want)| **want > Want::Behind && memory.node(path).is_none());
    let unread: Vec<StorePath> = unread.map(|(path, _)| path.clone()).collect();
    node::load(engine, organization, memory, unread).await?;
    let mut news = Vec::with_capacity(wants.len());
    for (path, want) in wants {
        if memory.node(&path).is_some() {
            news.push((path, want));
        } else if want == Want::Behind {
            visited.behind.insert(path);
        }
    }
    news.sort();
    Ok(news)
}

/// Whether the evaluation has it already. That an upstream has it may not be enough for an entry point.
fn is_settled(memory: &Memory, path: &StorePath, want: Want) -> bool {
    memory.derivations.get(path).is_some_and(|remembered| match remembered.reach {
        Reach::Unreached => false,
        Reach::Behind => want == Want::Behind,
        Reach::Needed => {
            let is_substituted = remembered.latest.is_some_and(|latest| latest.status == BuildStatus::Substituted);
            want != Want::EntryPoint || !is_substituted
        }
    })
}

/// Decides about a wave; the next one.
async fn decide(
    engine: &Engine,
    places: &Substitutes,
    memory: &mut Memory,
    visited: &mut Visited,
    news: Vec<(StorePath, Want)>,
    until: Instant,
) -> Result<Vec<(StorePath, Want)>, EngineError> {
    let (mut decided, mut open, mut questions) = (Vec::with_capacity(news.len()), Vec::new(), Vec::new());
    for (path, want) in news {
        let Some(remembered) = memory.derivations.get(&path) else { continue };
        let outputs = remembered.node.as_ref().and_then(|node| node.outputs.clone());
        let was_refused =
            remembered.node.as_ref().zip(remembered.latest.as_ref()).is_some_and(|(node, latest)| node.was_refused(latest));
        match (look(remembered.latest.as_ref(), was_refused, want), outputs) {
            (Look::Known(verdict, needs), _) => decided.push((path, want, verdict, needs)),
            (Look::Ask, Some(outputs)) if !places.is_empty() => {
                questions.push(Question { outputs, is_served: want == Want::EntryPoint });
                open.push((path, want));
            }
            (Look::Ask, _) => {
                let (verdict, needs) = judge(Answer::Absent, remembered.latest.as_ref());
                decided.push((path, want, verdict, needs));
            }
        }
    }
    let answers = engine.find_substitutes(places, &questions, until, &mut memory.silent).await?;
    for ((path, want), answer) in open.into_iter().zip(answers) {
        let latest = memory.derivations.get(&path).and_then(|remembered| remembered.latest.as_ref());
        let (verdict, needs) = judge(answer, latest);
        decided.push((path, want, verdict, needs));
    }
    let mut next = Vec::new();
    for (path, want, verdict, needs) in decided {
        if let (Some(needs), Some(node)) = (needs, memory.node(&path)) {
            next.extend(node.inputs.iter().map(|input| (input.clone(), needs)));
        }
        visited.decided.insert(path, (want, verdict, needs.is_none() || needs == Some(Want::Behind)));
    }
    Ok(next)
}

/// All that was decided, in an order in which each comes after what it needs.
fn inputs_first(memory: &Memory, mut decided: HashMap<StorePath, (Want, Verdict, bool)>, roots: &[StorePath]) -> Vec<Step> {
    let mut steps = Vec::with_capacity(decided.len());
    for root in roots {
        let mut stack = vec![(root.clone(), false)];
        while let Some((path, needs_are_done)) = stack.pop() {
            if needs_are_done {
                if let Some((_, verdict, is_leaf)) = decided.remove(&path) {
                    steps.push(Step { path, verdict, is_leaf });
                }
                continue;
            }
            if !decided.contains_key(&path) {
                continue;
            }
            let inputs = memory.node(&path).map(|node| node.inputs.clone()).unwrap_or_default();
            stack.push((path, true));
            stack.extend(inputs.into_iter().filter(|input| decided.contains_key(input)).map(|input| (input, false)));
        }
    }
    steps
}
