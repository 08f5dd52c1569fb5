//! Finds all that derivations need and the server does not have, inputs first.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
};

use gradient_domain::{Failure, FailureKind};
use gradient_nix::StorePath;
use gradient_protocol::{DerivationFile, EntryPoint, EvaluationMessage};
use tokio::sync::mpsc;

use super::{
    Item,
    files::{DerivationFiles, Needs},
    known::Known,
};
use crate::job::failure;

/// How many items are looked at together.
const ITEMS: usize = 500;

/// How many derivations are read again together, to be handed on.
const DERIVATIONS: usize = 200;

/// What is to be delivered, in an order in which inputs come before what needs them.
#[derive(Debug)]
pub(super) enum Node {
    /// A derivation that was not given before, with the sources it needs.
    Derivation(DerivationFile, BTreeSet<StorePath>),
    /// An entry point whose derivations were given, or are known to the server.
    EntryPoint(EntryPoint),
    /// Something to tell.
    Message(EvaluationMessage),
}

/// Follows all items that come, until no more do.
pub(super) async fn read(
    files: DerivationFiles,
    known: Known<'_>,
    mut items: mpsc::Receiver<Item>,
    nodes: mpsc::Sender<Node>,
) -> Result<(), Failure> {
    let mut walk = Walk { files, known, nodes, met: HashMap::new() };
    let mut batch = Vec::with_capacity(ITEMS);
    while items.recv_many(&mut batch, ITEMS).await > 0 {
        walk.open(batch.iter().filter_map(root).cloned().collect()).await?;
        for item in batch.drain(..) {
            let node = match item {
                Item::Message(message) => Node::Message(message),
                Item::EntryPoint(entry_point) => Node::EntryPoint(walk.entry_point(entry_point).await?),
            };
            walk.give(node).await?;
        }
    }
    Ok(())
}

fn root(item: &Item) -> Option<&StorePath> {
    match item {
        Item::EntryPoint(entry_point) => entry_point.outcome.as_ref().ok(),
        Item::Message(_) => None,
    }
}

/// A derivation that was met.
#[derive(Debug)]
enum Met {
    /// It is to be given after what it needs. Its bytes are read again by then: many wait, and few are given at a time.
    Open(Needs),
    /// It was given, or is about to be, or the server has it.
    Given,
    /// It cannot be given.
    Failed(String),
}

/// Derivations with the sources they need, each after those that it needs.
type Closure = Vec<(StorePath, BTreeSet<StorePath>)>;

struct Walk<'t> {
    files: DerivationFiles,
    known: Known<'t>,
    nodes: mpsc::Sender<Node>,
    met: HashMap<StorePath, Met>,
}

impl Walk<'_> {
    /// Reads what the derivations need and all that this needs, level by level, as far as the server does not have it.
    async fn open(&mut self, roots: BTreeSet<StorePath>) -> Result<(), Failure> {
        let mut wave = roots;
        loop {
            wave.retain(|path| !self.met.contains_key(path));
            if wave.is_empty() {
                return Ok(());
            }
            let mut unread: Vec<StorePath> = mem::take(&mut wave).into_iter().collect();
            let known = self.known.among(&unread).await?;
            unread.retain(|path| !known.contains(path));
            self.met.extend(known.into_iter().map(|path| (path, Met::Given)));
            for (path, needs) in self.files.needs(unread).await? {
                let met = match needs {
                    Ok(needs) => {
                        wave.extend(needs.derivations.iter().cloned());
                        Met::Open(needs)
                    }
                    Err(error) => Met::Failed(error),
                };
                self.met.insert(path, met);
            }
        }
    }

    async fn entry_point(&mut self, mut entry_point: EntryPoint) -> Result<EntryPoint, Failure> {
        if let Ok(derivation) = &entry_point.outcome {
            let (closure, outcome) = self.closure(derivation.clone());
            self.give_all(closure).await?;
            if let Err(error) = outcome {
                entry_point.outcome = Err(error);
            }
        }
        Ok(entry_point)
    }

    /// A derivation after all that it needs, of what was not given. A stack of its own, for graphs deeper than the program's.
    fn closure(&mut self, root: StorePath) -> (Closure, Result<(), String>) {
        let (mut closure, mut stack) = (Vec::new(), Vec::new());
        let mut wanted = Some(root);
        loop {
            if let Some(path) = wanted.take() {
                match self.met.get_mut(&path) {
                    Some(met @ Met::Open(_)) => {
                        if let Met::Open(needs) = mem::replace(met, Met::Given) {
                            stack.push((path, needs));
                        }
                    }
                    Some(Met::Failed(error)) => {
                        let error = error.clone();
                        // All on the stack need it.
                        self.met.extend(stack.into_iter().map(|(path, _)| (path, Met::Failed(error.clone()))));
                        return (closure, Err(error));
                    }
                    Some(Met::Given) | None => {}
                }
            }
            let Some((_, needs)) = stack.last_mut() else { return (closure, Ok(())) };
            wanted = needs.derivations.pop();
            if wanted.is_none()
                && let Some((path, needs)) = stack.pop()
            {
                closure.push((path, needs.sources));
            }
        }
    }

    async fn give_all(&self, mut closure: Closure) -> Result<(), Failure> {
        while !closure.is_empty() {
            let rest = closure.split_off(closure.len().min(DERIVATIONS));
            let (paths, sources): (Vec<StorePath>, Vec<_>) = mem::replace(&mut closure, rest).into_iter().unzip();
            for ((path, aterm), sources) in self.files.aterms(paths).await?.into_iter().zip(sources) {
                let aterm = aterm.map_err(|error| failure(FailureKind::Transient, error))?;
                self.give(Node::Derivation(DerivationFile { path, aterm }, sources)).await?;
            }
        }
        Ok(())
    }

    async fn give(&self, node: Node) -> Result<(), Failure> {
        // Nobody takes it any more only when the evaluation ends for another reason, which is then told.
        self.nodes.send(node).await.map_err(|_| failure(FailureKind::Transient, "the evaluation has ended"))
    }
}
