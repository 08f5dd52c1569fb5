//! The steps of a test run: each announced, timed, and remembered for the last lines.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::counts::Counts;
use crate::interrupt;

/// What ran so far.
#[derive(Debug, Default)]
pub(super) struct Steps {
    done: Vec<Step>,
    counts: Counts,
}

#[derive(Debug)]
struct Step {
    name: &'static str,
    took: Duration,
    passed: bool,
}

impl Steps {
    /// A step without which the rest makes no sense.
    pub(super) fn required<R>(&mut self, name: &'static str, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let started = begin(name)?;
        let result = work()?;
        self.end(name, started, true);
        Ok(result)
    }

    /// A check; when it fails, the others are still of interest. An error only when somebody interrupted.
    pub(super) fn check(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let started = begin(name)?;
        let result = work();
        if let Err(error) = &result {
            println!("{error:#}");
        }
        self.end(name, started, result.is_ok());
        Ok(())
    }

    /// A command whose output is shown as it comes and searched for test counts.
    pub(super) fn command(&mut self, name: &'static str, command: Command) -> Result<()> {
        let mut counts = self.counts;
        self.check(name, || run_and_count(command, &mut counts))?;
        self.counts = counts;
        Ok(())
    }

    /// Prints how long each step took and how many tests passed; an error when anything failed.
    pub(super) fn finish(self) -> Result<()> {
        println!();
        for step in &self.done {
            let outcome = if step.passed { "ok" } else { "FAILED" };
            println!("{:>7.1} s  {:<6}  {}", step.took.as_secs_f64(), outcome, step.name);
        }
        let total: f64 = self.done.iter().map(|step| step.took.as_secs_f64()).sum();
        println!("{total:>7.1} s  in all");
        let failed: Vec<&str> = self.done.iter().filter(|step| !step.passed).map(|step| step.name).collect();
        println!("{} passed, {} failed", self.counts.passed, self.counts.failed);
        if failed.is_empty() && self.counts.failed == 0 {
            return Ok(());
        }
        bail!("failed: {}", failed.join(", "))
    }

    fn end(&mut self, name: &'static str, started: Instant, passed: bool) {
        let took = started.elapsed();
        println!("── {name}: {} in {:.1} s", if passed { "ok" } else { "FAILED" }, took.as_secs_f64());
        self.done.push(Step { name, took, passed });
    }
}

fn begin(name: &str) -> Result<Instant> {
    interrupt::check()?;
    println!("── {name}");
    Ok(Instant::now())
}

fn run_and_count(mut command: Command, counts: &mut Counts) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let seen = Mutex::new(*counts);
    std::thread::scope(|scope| {
        let stderr = child.stderr.take();
        scope.spawn(|| pass_on(stderr, &seen));
        pass_on(child.stdout.take(), &seen);
    });
    *counts = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    let status = child.wait()?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().to_string_lossy());
    }
    Ok(())
}

fn pass_on(stream: Option<impl Read>, seen: &Mutex<Counts>) {
    let Some(stream) = stream else { return };
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        seen.lock().unwrap_or_else(PoisonError::into_inner).read(&line);
    }
}
