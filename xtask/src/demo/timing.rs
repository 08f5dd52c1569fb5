//! What was done and how long it took.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::interrupt;

#[derive(Debug, Default)]
pub(super) struct Timing {
    steps: Vec<(&'static str, Duration)>,
}

impl Timing {
    /// Announces a step, does it and remembers how long it took.
    pub(super) fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        interrupt::check()?;
        println!("\n{}. {name}", self.steps.len() + 1);
        let started = Instant::now();
        let result = work()?;
        self.steps.push((name, started.elapsed()));
        Ok(result)
    }

    /// Prints all steps with their times.
    pub(super) fn print(&self) {
        println!("\nWhat it did:");
        for (name, took) in &self.steps {
            println!("{:>8.1} s  {name}", took.as_secs_f64());
        }
        let total: Duration = self.steps.iter().map(|(_, took)| *took).sum();
        println!("{:>8.1} s  in all", total.as_secs_f64());
    }
}
