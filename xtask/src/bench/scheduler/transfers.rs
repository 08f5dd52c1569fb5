//! What machines fetch: the outputs that a build depends on and that are not on its machine yet.

use super::trace::Trace;

/// Which machine has what, of what it has built and fetched.
#[derive(Debug)]
pub(super) struct Transfers {
    /// A bit for each build, by machine.
    held: Vec<Vec<u64>>,
    pub(super) bytes: u64,
}

impl Transfers {
    pub(super) const fn new() -> Self {
        Self { held: Vec::new(), bytes: 0 }
    }

    pub(super) fn begin(&mut self, trace: &Trace<'_>, build: usize, machine: usize) {
        for &dependency in &trace.shape.builds[build].dependencies {
            if self.take(machine, dependency as usize) {
                self.bytes += trace.sizes[dependency as usize];
            }
        }
    }

    /// A machine has something from now on; whether it did not before.
    pub(super) fn take(&mut self, machine: usize, build: usize) -> bool {
        if self.held.len() <= machine {
            self.held.resize(machine + 1, Vec::new());
        }
        let (word, bit) = (build / 64, 1 << (build % 64));
        let held = &mut self.held[machine];
        if held.len() <= word {
            held.resize(word + 1, 0);
        }
        let is_new = held[word] & bit == 0;
        held[word] |= bit;
        is_new
    }
}
