//! Triggers an evaluation and shows what becomes of it: its states, its builds and their logs.

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::{Api, wait};
use serde_json::{Value, json};

use super::installation::{Installation, ORGANIZATION, PROJECT, field, text};
use crate::interrupt;

/// The example packages build within seconds.
const EVALUATION_LIMIT: Duration = Duration::from_mins(5);

/// After the evaluation's end its log stream ends too.
const STREAM_END_LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Evaluation {
    id: String,
}

/// Evaluates the project's head, prints every change until the end, and fails unless all was built.
pub(super) fn run_and_show(installation: &mut Installation) -> Result<Evaluation> {
    let answer = installation.api().post(&format!("/projects/{ORGANIZATION}/{PROJECT}/evaluate"), &json!({}))?;
    let evaluation = Evaluation { id: text(&answer)?.to_owned() };
    println!("  evaluation {}", evaluation.id);
    let logs = print_logs(installation.api().clone(), evaluation.id.clone());

    let mut shown = Shown::default();
    let status = wait::until("the end of the evaluation", EVALUATION_LIMIT, || {
        interrupt::check()?;
        installation.expect_running()?;
        evaluation.show_changes(installation.api(), &mut shown)
    })?;
    wait::until("the end of the log stream", STREAM_END_LIMIT, || anyhow::Ok(logs.is_finished().then_some(())))?;
    if status != "Completed" {
        let messages = installation.api().get(&format!("/evals/{}/messages", evaluation.id))?;
        bail!("the evaluation ended as {status}: {messages}");
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

impl Evaluation {
    /// Prints what changed since the last time; the status once it is final.
    fn show_changes(&self, api: &Api, shown: &mut Shown) -> Result<Option<String>> {
        let evaluation = api.get(&format!("/evals/{}", self.id))?;
        let status = field(&evaluation, "status")?;
        if status != shown.status {
            println!("  [{status}]{}", reason(&evaluation));
            status.clone_into(&mut shown.status);
        }
        for build in self.builds(api)? {
            let (name, status) = (field(&build, "name")?, field(&build, "status")?);
            let previous = shown.builds.insert(field(&build, "id")?.to_owned(), status.to_owned());
            if previous.as_deref() != Some(status) && status != "Queued" {
                println!("  {name}: {status}{}", duration(&build));
            }
        }
        let counts = counts(&evaluation);
        if counts != shown.counts {
            println!("  ({counts})");
            shown.counts = counts;
        }
        let is_final = matches!(status, "Completed" | "Failed" | "Aborted");
        Ok(is_final.then(|| status.to_owned()))
    }

    fn builds(&self, api: &Api) -> Result<Vec<Value>> {
        let page = api.get(&format!("/evals/{}/builds?limit=100", self.id))?;
        page.get("builds").and_then(Value::as_array).cloned().with_context(|| format!("no list of builds in {page}"))
    }

    /// The output paths of every entry point, by attribute.
    pub(super) fn outputs(&self, installation: &Installation) -> Result<BTreeMap<String, Vec<String>>> {
        let path = format!("/projects/{ORGANIZATION}/{PROJECT}/entry-points?evaluation_id={}", self.id);
        let entry_points = installation.api().get(&path)?;
        let mut outputs = BTreeMap::new();
        for entry_point in entry_points.as_array().context("entry points are a list")? {
            let paths = entry_point.get("outputs").and_then(Value::as_object).context("an entry point has outputs")?;
            let paths = paths.values().map(|path| Ok(text(path)?.to_owned())).collect::<Result<_>>()?;
            outputs.insert(field(entry_point, "eval")?.to_owned(), paths);
        }
        Ok(outputs)
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
