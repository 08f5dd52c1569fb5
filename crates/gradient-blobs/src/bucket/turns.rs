use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

/// Who writes under a key, one at a time.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: Mutex<HashSet<String>>,
    ended: Notify,
}

/// While this is there, nobody else writes under the key.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    key: String,
}

impl Turns {
    pub(super) async fn take(&self, key: &str) -> Turn<'_> {
        loop {
            // Before it is looked, so that no end in between is missed.
            let ended = self.ended.notified();
            if self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned()) {
                return Turn { turns: self, key: key.to_owned() };
            }
            ended.await;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.turns.ended.notify_waiters();
    }
}
