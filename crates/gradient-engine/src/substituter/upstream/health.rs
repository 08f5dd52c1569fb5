use std::{
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many failures in a row make an upstream rest.
const FAILURES: u32 = 3;

/// How long it rests. The next question after that is a try: one more failure, and it rests again.
const REST: Duration = Duration::from_mins(1);

/// How many failing upstreams are known at once.
const MAX_FAILING: u64 = 10_000;

/// Which upstreams do not answer. Nobody should wait for them again and again.
#[derive(Debug)]
pub(super) struct Health(moka::sync::Cache<Arc<str>, Arc<Mutex<Failing>>>);

#[derive(Debug, Default)]
struct Failing {
    failures: u32,
    until: Option<Instant>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(MAX_FAILING).time_to_idle(10 * REST).build())
    }

    /// Whether the upstream of this name is not to be asked now.
    pub(super) fn rests(&self, name: &Arc<str>) -> bool {
        self.0.get(name).is_some_and(|failing| {
            let failing = failing.lock().unwrap_or_else(PoisonError::into_inner);
            failing.until.is_some_and(|until| Instant::now() < until)
        })
    }

    /// It answered, whatever it said.
    pub(super) fn well(&self, name: &Arc<str>) {
        self.0.invalidate(name);
    }

    /// It did not.
    pub(super) fn failed(&self, name: &Arc<str>, why: &dyn Display) {
        let failing = self.0.get_with(name.clone(), Arc::default);
        let mut failing = failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.failures = failing.failures.saturating_add(1);
        if failing.failures >= FAILURES {
            failing.until = Some(Instant::now() + REST);
            tracing::warn!(upstream = %name, %why, "an upstream does not answer, and is not asked for a minute");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_rests() {
        let (health, name): (_, Arc<str>) = (Health::new(), "https://cache.example".into());
        for _ in 1..FAILURES {
            health.failed(&name, &"down");
            assert!(!health.rests(&name));
        }
        health.well(&name);
        for _ in 1..FAILURES {
            health.failed(&name, &"down");
        }
        assert!(!health.rests(&name), "an answer in between counts");
        health.failed(&name, &"down");
        assert!(health.rests(&name));
        assert!(!health.rests(&"https://other.example".into()));
    }
}
