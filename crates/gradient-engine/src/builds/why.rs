//! Why a build is where it is, for a person.

use gradient_domain::{BuildId, BuildKind, BuildStatus, BuildWait, FailureKind, Shortage};
use gradient_storage::{
    Conn,
    builds::{self, BuildView},
};

use super::BuildDetails;
use crate::{Engine, EngineError};

/// How many builds a sentence names.
const NAMED: usize = 3;

/// Why a build is where it is.
#[derive(Debug)]
pub struct Explanation {
    /// Where it stands.
    pub status: BuildStatus,
    /// What it waits for, when it does.
    pub waiting: Option<BuildWait>,
    /// The same as one sentence; builds that have ended have one too.
    pub sentence: String,
}

impl Engine {
    /// Why the build, which must exist, is where it is.
    pub async fn explain_build(&self, id: BuildId) -> Result<Explanation, EngineError> {
        let details = self.build(id).await?;
        let mentioned: Vec<BuildId> = match (&details.waiting, details.build.failed_dependency) {
            (Some(BuildWait::Dependencies { builds }), _) => builds.clone(),
            (_, failed) => failed.into_iter().collect(),
        };
        let names = self.storage().read(async move |conn: &mut Conn| builds::names(conn, &mentioned).await).await?;
        let sentence = sentence(&details, &names);
        Ok(Explanation { status: details.build.status, waiting: details.waiting, sentence })
    }
}

fn sentence(details: &BuildDetails, names: &[String]) -> String {
    let build = &details.build;
    if build.kind == BuildKind::Ifd {
        return imported(build);
    }
    match build.status {
        BuildStatus::Queued => match &details.waiting {
            Some(waiting) => waits(waiting, names),
            None => "It is about to be given to a worker.".to_owned(),
        },
        BuildStatus::Building => match (details.attempts.last(), build.worker) {
            (Some(attempt), Some(worker)) if attempt.started_at.is_none() => {
                format!("Worker {worker} has it and brings its inputs to its store.")
            }
            (_, Some(worker)) => format!("Worker {worker} builds it."),
            (_, None) => "It is being built.".to_owned(),
        },
        BuildStatus::Completed => match build.duration_ms {
            Some(duration) => format!("It was built in {duration} ms."),
            None => "It was built.".to_owned(),
        },
        BuildStatus::Substituted => "An upstream cache has its outputs, so nothing had to be built.".to_owned(),
        BuildStatus::Aborted => "It was aborted, as no evaluation that needed it went on.".to_owned(),
        BuildStatus::Failed => failed(details),
        BuildStatus::DependencyFailed => match names {
            [] => "It was not built, because something that it needs failed.".to_owned(),
            [name, ..] => format!("It was not built, because {name} failed, which it needs."),
        },
    }
}

/// Of what an evaluation imports from.
fn imported(build: &BuildView) -> String {
    match (build.status, build.duration_ms) {
        (BuildStatus::Completed, Some(duration)) => format!("Its evaluation imports from it; it was built in {duration} ms."),
        (BuildStatus::Completed, None) => "Its evaluation imports from it, and it was built.".to_owned(),
        (BuildStatus::Failed, _) => "Its builder failed, so what imports from it could not be evaluated.".to_owned(),
        (BuildStatus::Aborted, _) => "It was stopped, because the evaluator that imports from it ended.".to_owned(),
        _ => match build.worker {
            Some(worker) => format!("Its evaluation imports from it, and waits until worker {worker} has built it."),
            None => "Its evaluation imports from it, and waits for it.".to_owned(),
        },
    }
}

fn waits(waiting: &BuildWait, names: &[String]) -> String {
    match waiting {
        BuildWait::Dependencies { .. } => match names {
            [] => "It waits for what it needs.".to_owned(),
            names => format!("It waits for {}.", listed(names)),
        },
        BuildWait::Workers { architecture, required_features } if required_features.is_empty() => {
            format!("No connected worker can build it; it needs one for {architecture}.")
        }
        BuildWait::Workers { architecture, required_features } => {
            let features = required_features.join(", ");
            format!("No connected worker can build it; it needs one for {architecture} with {features}.")
        }
        BuildWait::Slots { position, eta_secs, .. } => {
            let place = match position {
                0 => "it comes next".to_owned(),
                1 => "one job comes before it".to_owned(),
                more => format!("{more} jobs come before it"),
            };
            format!("All workers that could build it are busy, and {place}{}.", turn(*eta_secs))
        }
        BuildWait::Share { position, eta_secs, .. } => {
            let jobs = if *position == 1 { "one job comes".to_owned() } else { format!("{position} jobs come") };
            format!(
                "Its organization has had more of the workers lately than others, of which {jobs} before it{}.",
                turn(*eta_secs)
            )
        }
        BuildWait::Retry { at } => format!("Its last attempt failed for a reason that may pass; the next one comes at {at}."),
        BuildWait::Inputs => "Its inputs are on their way to the store.".to_owned(),
        BuildWait::Shortage { of: Shortage::Memory } => "The workers that could build it have too little free memory.".to_owned(),
        BuildWait::Shortage { of: Shortage::Disk } => {
            "The workers that could build it have too little free disk space.".to_owned()
        }
        BuildWait::Draining => "The only workers that could build it are about to go and take nothing new.".to_owned(),
    }
}

fn turn(eta_secs: Option<u64>) -> String {
    eta_secs.map(|secs| format!("; it begins in about {}", rounded(secs))).unwrap_or_default()
}

/// As exactly as it can be known.
fn rounded(secs: u64) -> String {
    match secs {
        0..100 => format!("{secs} s"),
        100..6000 => format!("{} min", secs.div_ceil(60)),
        _ => format!("{} h", secs.div_ceil(3600)),
    }
}

/// The first names, and how many there are beside them.
fn listed(names: &[String]) -> String {
    match names {
        [name] => name.clone(),
        [name, other] => format!("{name} and {other}"),
        names if names.len() <= NAMED => names.join(", "),
        names => format!("{} and {} more", names.get(..NAMED).unwrap_or(names).join(", "), names.len().saturating_sub(NAMED)),
    }
}

fn failed(details: &BuildDetails) -> String {
    let build = &details.build;
    let how = match build.failure_kind {
        Some(FailureKind::Permanent) | None => "Its builder failed",
        Some(FailureKind::Timeout) => "It ran longer than it may",
        Some(FailureKind::Silent) => "It printed nothing for longer than it may",
        Some(FailureKind::LogLimit) => "It printed more than it may",
        Some(FailureKind::OutputLimit) => "Its outputs are larger than they may be",
        Some(FailureKind::Transient) => "Workers failed at it again and again",
        Some(FailureKind::WorkerUnfit) => "No worker could build it",
        Some(FailureKind::InputsMissing) => "What it needs could not be brought to a worker",
        Some(FailureKind::UnsupportedDerivation) => "It is of a kind that cannot be built here",
        Some(FailureKind::Aborted) => "It was cancelled",
    };
    match build.finished_at {
        Some(at) if details.cached_failure => {
            format!("{how} at {at}, which is kept until failed builds are restarted.")
        }
        _ => format!("{how}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_names_are_listed() {
        let names = |count: usize| listed(&(1..=count).map(|number| format!("p{number}")).collect::<Vec<_>>());
        assert_eq!(names(1), "p1");
        assert_eq!(names(2), "p1 and p2");
        assert_eq!(names(3), "p1, p2, p3");
        assert_eq!(names(20), "p1, p2, p3 and 17 more");
    }

    #[test]
    fn a_wait_is_a_sentence() {
        let workers = |features: &[&str]| BuildWait::Workers {
            architecture: "x86_64-linux".to_owned(),
            required_features: features.iter().map(ToString::to_string).collect(),
        };
        for (waiting, expected) in [
            (workers(&[]), "No connected worker can build it; it needs one for x86_64-linux."),
            (
                workers(&["big-parallel", "kvm"]),
                "No connected worker can build it; it needs one for x86_64-linux with big-parallel, kvm.",
            ),
            (
                BuildWait::Slots { position: 7, eta_secs: None, eta_min_secs: None, eta_max_secs: None },
                "All workers that could build it are busy, and 7 jobs come before it.",
            ),
            (
                BuildWait::Slots { position: 0, eta_secs: Some(541), eta_min_secs: Some(241), eta_max_secs: Some(1141) },
                "All workers that could build it are busy, and it comes next; it begins in about 10 min.",
            ),
            (
                BuildWait::Share { position: 1, eta_secs: Some(30), eta_min_secs: Some(15), eta_max_secs: Some(60) },
                "Its organization has had more of the workers lately than others, of which one job comes before it; it begins in about 30 s.",
            ),
            (BuildWait::Dependencies { builds: vec![] }, "It waits for what it needs."),
        ] {
            assert_eq!(waits(&waiting, &[]), expected);
        }
    }
}
