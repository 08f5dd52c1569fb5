//! Turns a flake into derivations: finds what the wildcard matches, and sends each derivation with its closure while the rest
//! still evaluates.

mod delivery;
mod drafts;
mod evaluator;
mod expansion;
mod files;
mod graph;
mod imports;
mod jobs;
mod known;
mod limits;
mod probe;
mod roots;
mod substitution;
mod walks;

use std::sync::Arc;

use gradient_domain::{BuildTimes, Failure, FailureKind, MessageLevel, Wildcard};
use gradient_nix::NixHash;
use gradient_nix_daemon::Listeners;
use gradient_protocol::{EntryPoint, EvaluateTask, EvaluationMessage, Source};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    Machine,
    job::{JobContext, failure},
    store,
};
use drafts::DraftStore;
use evaluator::{Answer, Evaluator};
use expansion::{Expansion, Match};
use files::DerivationFiles;
use jobs::NixEvalJobs;
use known::Known;
pub use limits::EvaluationLimits;
use probe::NixInstantiate;
use roots::Roots;

/// How many attributes that throw are evaluated once more to see what they say.
const MAX_EXPLANATIONS: usize = 20;

/// What an evaluation finds, in the order in which it is found.
#[derive(Debug)]
enum Item {
    /// An attribute that is a derivation, or failed.
    EntryPoint(EntryPoint),
    /// Something to tell.
    Message(EvaluationMessage),
}

/// Evaluates and reports everything but the end.
pub(crate) async fn run(machine: &Machine, task: EvaluateTask, context: &JobContext) -> Result<(), Failure> {
    let time = machine.evaluation.time.min(EvaluationLimits::MAX_TIME);
    // On the heap: it holds the state of all that goes on in it at the same time.
    match timeout(time, Box::pin(evaluate(machine, task, context))).await {
        Ok(outcome) => outcome,
        Err(_) => Err(failure(FailureKind::Timeout, format!("the evaluation takes longer than {}", limits::in_words(time)))),
    }
}

async fn evaluate(machine: &Machine, task: EvaluateTask, context: &JobContext) -> Result<(), Failure> {
    let wildcard: Wildcard =
        task.wildcard.parse().map_err(|error| failure(FailureKind::Permanent, format!("the wildcard: {error}")))?;
    let roots = Roots::open(machine).await;
    roots.hold([&task.source.path]).await;
    store::import(machine, context.transfer(), &task.source.path).await?;
    let (builds, news) = mpsc::channel(imports::NEWS);
    let (using, used) = mpsc::unbounded_channel();
    let (wanted, questions) = mpsc::channel(substitution::QUESTIONS);
    let listeners = Listeners { wanted: task.allow_ifd.then_some(wanted), builds: task.show_ifd.then_some(builds) };
    let drafts = DraftStore::open(machine, using, listeners).unwrap_or_else(|error| {
        tracing::warn!(%error, "derivations are written to the store, which takes longer");
        None
    });
    let files = DerivationFiles::new(machine, drafts.as_ref().map(|store| Arc::clone(store.drafts())));
    let own = NixInstantiate::new(machine, flake_reference(&task.source), task.allow_ifd, drafts);

    let (items, found) = mpsc::channel(1024);
    let (nodes, read) = mpsc::channel(256);
    // The evaluators go with it, and with them whoever could tell of another build.
    let searching = async move {
        match &machine.nix_eval_jobs {
            Some(program) => search(&NixEvalJobs::new(program, own), &wildcard, items).await,
            None => search(&own, &wildcard, items).await,
        }
    };
    let reading = graph::read(files.clone(), Known::new(context.transfer()), found, nodes);
    let (delivering, telling) = (delivery::deliver(machine, context, &roots, read), imports::report(context, &files, news));
    let bringing = substitution::serve(machine, context.transfer(), &files, &roots, questions);
    tokio::select! {
        outcome = async { tokio::try_join!(searching, reading, delivering, telling, bringing) } => outcome.map(drop),
        never = roots.follow(used) => match never {},
    }
}

/// Finds what the wildcard matches, level by level.
async fn search(evaluator: &impl Evaluator, wildcard: &Wildcard, items: mpsc::Sender<Item>) -> Result<(), Failure> {
    let mut expansion = Expansion::new(wildcard);
    let mut explanations = MAX_EXPLANATIONS;
    loop {
        let queries = expansion.next_round().map_err(|error| failure(FailureKind::Permanent, error))?;
        if queries.is_empty() {
            break;
        }
        let (answers, mut answered) = mpsc::channel(256);
        let taking = async {
            while let Some(answer) = answered.recv().await {
                take(evaluator, &mut expansion, answer, &mut explanations, &items).await;
            }
            Ok(())
        };
        tokio::try_join!(evaluator.ask(&queries, answers), taking)?;
    }
    for pattern in expansion.patterns_without_match() {
        let message = format!("the pattern `{pattern}` matches nothing");
        let level = MessageLevel::Warning;
        send(&items, Item::Message(EvaluationMessage { level, source: "wildcard".into(), attribute: None, message })).await;
    }
    Ok(())
}

async fn take(
    evaluator: &impl Evaluator,
    expansion: &mut Expansion<'_>,
    answer: Answer,
    explanations: &mut usize,
    items: &mpsc::Sender<Item>,
) {
    let (path, found) = match answer {
        Answer::Found { path, found } => (path, found),
        Answer::Warning(message) => {
            let level = MessageLevel::Warning;
            send(items, Item::Message(EvaluationMessage { level, source: "nix".into(), attribute: None, message })).await;
            return;
        }
    };
    for found in expansion.take(&path, &found) {
        let (path, outcome, times) = match found {
            Match::Derivation(path, derivation, times) => (path, Ok(derivation), times),
            Match::Failed(path, error) => (path, Err(error), BuildTimes::default()),
            Match::Throws(path) if *explanations > 0 => {
                *explanations -= 1;
                let error = evaluator.explain(&path).await;
                (path, Err(error), BuildTimes::default())
            }
            Match::Throws(path) => (path, Err("it throws an error".to_owned()), BuildTimes::default()),
        };
        let attribute = gradient_domain::attribute_path(&path);
        send(items, Item::EntryPoint(EntryPoint { attribute, outcome, times })).await;
    }
}

/// Hands an item on. Nobody takes it any more only when the evaluation ends for another reason, which is then told.
async fn send(items: &mpsc::Sender<Item>, item: Item) {
    let _ = items.send(item).await;
}

/// The source as a flake reference that pure evaluation accepts, with what the flake's `self` says of itself.
fn flake_reference(source: &Source) -> String {
    let hash = NixHash::from(source.nar_hash).to_sri_string();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("narHash", &hash);
    if let Some(rev) = &source.rev {
        query.append_pair("rev", rev);
    }
    if let Some(count) = source.rev_count {
        query.append_pair("revCount", &count.to_string());
    }
    if let Some(time) = source.last_modified {
        query.append_pair("lastModified", &time.to_string());
    }
    format!("path:{}?{}", source.path.to_absolute(), query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_locked() {
        let source = Source {
            path: "vvwmn6b5gh2lvkyi4gpnag6d4jdh4d8p-source".parse().unwrap(),
            nar_hash: "sha256-2e3XGLUQE8adnq1Zz8GRldU6RnNVOTHFfwNOPVdD/rg=".parse().unwrap(),
            rev: Some("271b048d9953a86f32573e55713147e01ef22ee3".into()),
            rev_count: Some(1),
            last_modified: Some(1_795_463_548),
        };
        assert_eq!(
            flake_reference(&source),
            "path:/nix/store/vvwmn6b5gh2lvkyi4gpnag6d4jdh4d8p-source?narHash=sha256-2e3XGLUQE8adnq1Zz8GRldU6RnNVOTHFfwNOPVdD%2Frg%3D\
             &rev=271b048d9953a86f32573e55713147e01ef22ee3&revCount=1&lastModified=1795463548"
        );
    }
}
