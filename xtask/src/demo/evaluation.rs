//! Triggers an evaluation and shows what becomes of it: its states, its builds and their logs.

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, bail};
use gradient_test_support::deployment::answer::field;
use gradient_test_support::deployment::{Api, Evaluation, Installation, wait};
use serde_json::Value;

use super::PROJECT;

/// The example packages build within seconds.
const EVALUATION_LIMIT: Duration = Duration::from_mins(5);

/// After the evaluation's end its log stream ends too.
const STREAM_END_LIMIT: Duration = Duration::from_secs(30);

/// Evaluates the project's head, prints every change until the end, and fails unless all was built.
pub(super) fn run_and_show(installation: &mut Installation) -> Result<Evaluation> {
    let evaluation = installation.evaluate(PROJECT)?;
    println!("  evaluation {}", evaluation.id());
    let logs = print_logs(installation.api().clone(), evaluation.id().to_owned());

    let mut shown = Shown::default();
    let status = wait::until("the end of the evaluation", EVALUATION_LIMIT, || {
        installation.expect_running()?;
        shown.print_changes(&evaluation)
    })?;
    wait::until("the end of the log stream", STREAM_END_LIMIT, || anyhow::Ok(logs.is_finished().then_some(())))?;
    if status != "Completed" {
        for message in evaluation.messages()? {
            println!("  {message}");
        }
        bail!("the evaluation ended as {status}");
    }
    Ok(evaluation)
}

/// What has been printed, so that only changes are.
#[derive(Default)]
struct Shown {
    status: String,
    builds: BTreeMap<String, String>,
    counts: String,
}

impl Shown {
    /// Prints what changed since the last time; the status once it is final.
    fn print_changes(&mut self, evaluation: &Evaluation) -> Result<Option<String>> {
        // First the builds: once the evaluation is at its end, they are at theirs.
        let object = evaluation.get()?;
        for build in evaluation.builds()? {
            let (name, status) = (field(&build, "name")?, field(&build, "status")?);
            let previous = self.builds.insert(field(&build, "id")?.to_owned(), status.to_owned());
            if previous.as_deref() != Some(status) && status != "Queued" {
                println!("  {name}: {status}{}", duration(&build));
            }
        }
        let status = field(&object, "status")?;
        if status != self.status {
            println!("  [{status}]{}", reason(&object));
            status.clone_into(&mut self.status);
        }
        let counts = counts(&object);
        if counts != self.counts {
            println!("  ({counts})");
            self.counts = counts;
        }
        Ok(matches!(status, "Completed" | "Failed" | "Aborted").then(|| status.to_owned()))
    }
}

/// Prints the live log of all builds until the evaluation ends.
fn print_logs(api: Api, evaluation: String) -> JoinHandle<()> {
    std::thread::spawn(move || match api.stream(&format!("/evals/{evaluation}/builds")) {
        Ok(lines) => {
            for line in lines {
                match line {
                    Ok(line) => println!("    {}", line.trim_end()),
                    Err(error) => return println!("    the log stream broke: {error}"),
                }
            }
        }
        Err(error) => println!("    no log stream: {error}"),
    })
}

fn reason(evaluation: &Value) -> String {
    match evaluation.get("waiting_reason") {
        None | Some(Value::Null) => String::new(),
        Some(reason) => format!(" {reason}"),
    }
}

fn duration(build: &Value) -> String {
    build.get("build_time_ms").and_then(Value::as_u64).map(|ms| format!(" in {ms} ms")).unwrap_or_default()
}

/// The states of the graph, such as `Building 2, Completed 3`.
fn counts(evaluation: &Value) -> String {
    let by_status = evaluation.pointer("/builds/by_status").and_then(Value::as_object);
    let some = by_status.into_iter().flatten().filter(|(_, count)| count.as_u64() != Some(0));
    some.map(|(status, count)| format!("{status} {count}")).collect::<Vec<_>>().join(", ")
}
