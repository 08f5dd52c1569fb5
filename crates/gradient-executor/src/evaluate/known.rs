//! What the server has already, and need not be read nor sent.

use std::collections::BTreeSet;

use gradient_nix::StorePath;

use crate::transfer::{JobTransfer, TransferError};

/// After so many derivations of which the server had none it is asked no more: an organization's first evaluation is all news.
const ENOUGH: usize = 1_000;

/// The server's knowledge, as far as it is worth the question.
#[derive(Debug)]
pub(super) struct Known<'t> {
    transfer: &'t JobTransfer,
    asked: usize,
    is_useful: bool,
}

impl<'t> Known<'t> {
    pub(super) fn new(transfer: &'t JobTransfer) -> Self {
        Self { transfer, asked: 0, is_useful: true }
    }

    /// Those of the derivations that the server has, with all that they need.
    pub(super) async fn among(&mut self, derivations: &[StorePath]) -> Result<BTreeSet<StorePath>, TransferError> {
        if derivations.is_empty() || !self.is_useful {
            return Ok(BTreeSet::new());
        }
        let Some(known) = self.transfer.known(derivations).await? else {
            self.is_useful = false;
            return Ok(BTreeSet::new());
        };
        self.asked = if known.is_empty() { self.asked + derivations.len() } else { 0 };
        self.is_useful = self.asked < ENOUGH;
        Ok(known)
    }
}
