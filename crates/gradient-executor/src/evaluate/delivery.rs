//! Sends what an evaluation finds in parts of a fair size: the sources first, then the derivations that need them.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use gradient_domain::Failure;
use gradient_nix::StorePath;
use gradient_protocol::{DerivationFile, EntryPoint, EvaluationMessage, Report};
use tokio::{sync::mpsc, time::timeout};

use super::{graph::Node, roots::Roots};
use crate::{Machine, job::JobContext, store};

/// What one part holds at most.
const MAX_DERIVATIONS: usize = 200;
const MAX_BYTES: usize = 1 << 20;

/// How long a part waits for more.
const PATIENCE: Duration = Duration::from_millis(300);

/// Delivers everything that comes, until nothing more does.
pub(super) async fn deliver(
    machine: &Machine,
    context: &JobContext,
    roots: &Roots,
    mut nodes: mpsc::Receiver<Node>,
) -> Result<(), Failure> {
    let mut uploaded = HashSet::new();
    let mut part = Part::default();
    loop {
        let node = if part.is_empty() { Ok(nodes.recv().await) } else { timeout(PATIENCE, nodes.recv()).await };
        let (node, over) = match node {
            Ok(Some(node)) => (Some(node), false),
            Ok(None) => (None, true),
            Err(_) => (None, false),
        };
        let waits = node.is_none();
        if waits || node.as_ref().is_some_and(|node| part.is_full_for(node)) {
            std::mem::take(&mut part).send(machine, context, roots, &mut uploaded).await?;
        }
        if let Some(node) = node {
            part.add(node);
        }
        if over {
            return Ok(());
        }
    }
}

#[derive(Debug, Default)]
struct Part {
    derivations: Vec<DerivationFile>,
    entry_points: Vec<EntryPoint>,
    messages: Vec<EvaluationMessage>,
    sources: BTreeSet<StorePath>,
    bytes: usize,
}

impl Part {
    fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn is_full_for(&self, node: &Node) -> bool {
        !self.is_empty() && (self.derivations.len() >= MAX_DERIVATIONS || self.bytes + size(node) > MAX_BYTES)
    }

    fn add(&mut self, node: Node) {
        self.bytes += size(&node);
        match node {
            Node::Derivation(file, sources) => {
                self.derivations.push(file);
                self.sources.extend(sources);
            }
            Node::EntryPoint(entry_point) => self.entry_points.push(entry_point),
            Node::Message(message) => self.messages.push(message),
        }
    }

    async fn send(
        self,
        machine: &Machine,
        context: &JobContext,
        roots: &Roots,
        uploaded: &mut HashSet<StorePath>,
    ) -> Result<(), Failure> {
        if self.is_empty() {
            return Ok(());
        }
        let sources: Vec<StorePath> = self.sources.into_iter().filter(|path| !uploaded.contains(path)).collect();
        if !sources.is_empty() {
            roots.hold(&sources).await;
            store::upload(machine, context.transfer(), &sources).await?;
            uploaded.extend(sources);
        }
        let (derivations, entry_points, messages) = (self.derivations, self.entry_points, self.messages);
        context.report(Report::Derivations { derivations, entry_points, messages }).await
    }
}

/// About how many bytes of a message it takes; never 0.
fn size(node: &Node) -> usize {
    100 + match node {
        Node::Derivation(file, _) => file.aterm.len(),
        Node::EntryPoint(EntryPoint { attribute, outcome, .. }) => {
            attribute.len() + outcome.as_ref().err().map_or(0, String::len)
        }
        Node::Message(message) => message.message.len(),
    }
}
