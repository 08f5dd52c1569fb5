//! Reads derivations and all that they need out of the store, inputs first.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use gradient_nix::{Derivation, StorePath};
use gradient_protocol::{DerivationFile, EntryPoint, EvaluationMessage};
use tokio::sync::mpsc;

use super::Item;

/// The largest derivation that fits a message.
const MAX_DERIVATION_BYTES: u64 = 3 << 20;

/// What is to be delivered, in an order in which inputs come before what needs them.
#[derive(Debug)]
pub(super) enum Node {
    /// A derivation that was not given before, with the sources it needs.
    Derivation(DerivationFile, BTreeSet<StorePath>),
    /// An entry point whose derivations were given.
    EntryPoint(EntryPoint),
    /// Something to tell.
    Message(EvaluationMessage),
}

/// Reads the derivations of all items that come, until no more do. Blocks.
pub(super) fn read(
    read_file: &dyn Fn(&StorePath) -> io::Result<Vec<u8>>,
    mut items: mpsc::Receiver<Item>,
    nodes: &mpsc::Sender<Node>,
) {
    let mut reader = Reader { read_file, nodes, seen: HashSet::new(), failed: HashMap::new() };
    while let Some(item) = items.blocking_recv() {
        let node = match item {
            Item::Message(message) => Node::Message(message),
            Item::EntryPoint(entry_point) => Node::EntryPoint(reader.entry_point(entry_point)),
        };
        if nodes.blocking_send(node).is_err() {
            return;
        }
    }
}

/// A derivation's file, as far as it may be read.
pub(super) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut aterm = Vec::new();
    File::open(path)?.take(MAX_DERIVATION_BYTES + 1).read_to_end(&mut aterm)?;
    Ok(aterm)
}

struct Reader<'a> {
    read_file: &'a dyn Fn(&StorePath) -> io::Result<Vec<u8>>,
    nodes: &'a mpsc::Sender<Node>,
    seen: HashSet<StorePath>,
    /// Derivations that cannot be given, and why.
    failed: HashMap<StorePath, String>,
}

/// A derivation whose inputs are being read.
struct Open {
    file: DerivationFile,
    sources: BTreeSet<StorePath>,
    inputs: Vec<StorePath>,
}

impl Reader<'_> {
    fn entry_point(&mut self, mut entry_point: EntryPoint) -> EntryPoint {
        if let Ok(derivation) = &entry_point.outcome
            && let Err(error) = self.closure(derivation.clone())
        {
            entry_point.outcome = Err(error);
        }
        entry_point
    }

    /// Gives a derivation after all that it needs. A stack of its own, for graphs deeper than the program's.
    fn closure(&mut self, root: StorePath) -> Result<(), String> {
        let mut stack: Vec<Open> = Vec::new();
        let mut wanted = Some(root);
        loop {
            if let Some(path) = wanted.take() {
                let opened = match self.failed.get(&path) {
                    Some(error) => Err(error.clone()),
                    None if !self.seen.insert(path.clone()) => Ok(None),
                    None => self.open(&path).map(Some),
                };
                match opened {
                    Ok(opened) => stack.extend(opened),
                    Err(error) => {
                        let open = stack.into_iter().map(|open| open.file.path);
                        self.failed.extend(open.chain([path]).map(|path| (path, error.clone())));
                        return Err(error);
                    }
                }
            }
            let Some(top) = stack.last_mut() else { return Ok(()) };
            wanted = top.inputs.pop();
            if wanted.is_none()
                && let Some(done) = stack.pop()
                && self.nodes.blocking_send(Node::Derivation(done.file, done.sources)).is_err()
            {
                return Err("the evaluation has ended".to_owned());
            }
        }
    }

    fn open(&self, path: &StorePath) -> Result<Open, String> {
        let aterm = (self.read_file)(path).map_err(|error| format!("cannot read {path}: {error}"))?;
        if u64::try_from(aterm.len()).unwrap_or(u64::MAX) > MAX_DERIVATION_BYTES {
            return Err(format!("{path} is larger than {MAX_DERIVATION_BYTES} bytes"));
        }
        let name = path.name().strip_suffix(".drv").ok_or_else(|| format!("{path} is not a derivation"))?;
        let derivation = Derivation::from_aterm_bytes(&aterm, name).map_err(|error| format!("cannot read {path}: {error}"))?;
        let inputs = derivation.input_derivations().keys().rev().cloned().map(StorePath::from).collect();
        let sources = derivation.input_sources().iter().cloned().map(StorePath::from).collect();
        Ok(Open { file: DerivationFile { path: path.clone(), aterm }, sources, inputs })
    }
}
