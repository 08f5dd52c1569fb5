//! A worker of another organization that reports what is not its own to report.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gradient_domain::{BuildId, BuildTimes, Epoch, EvaluationId, Failure, FailureKind, Job, JobKind};
use gradient_nix::StorePath;
use gradient_protocol::transfer::job_path;
use gradient_protocol::{BuiltOutput, DerivationFile, EntryPoint, Report, Task};
use gradient_test_support::deployment::{Evaluation, answer, wait};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client;

use super::proxy::Way;
use super::site::Site;
use crate::bench::http::{self, Connection};
use crate::bench::stub_worker::{Nar, Session};

/// The other organization.
const ORGANIZATION: &str = "intruders";

/// Builds of the victim that it reports on.
const BUILDS: usize = 20;

/// How long the victim's evaluation may take until it has builds.
const BUILDS_KNOWN: Duration = Duration::from_mins(1);

/// How often a build may have been assigned by then.
const EPOCHS: u32 = 3;

/// What is known of a build of the victim.
struct Target {
    build: BuildId,
    name: String,
    derivation: StorePath,
    output: StorePath,
}

/// Reports, uploads and derivations that are not what they say, for this long. An error when the server takes any of them.
pub(super) fn forge(site: &mut Site, victim: &Evaluation, way: Way, lasts: Duration) -> Result<()> {
    let until = Instant::now() + lasts;
    let address = site.installation.server().url().trim_start_matches("http://").to_owned();
    let api = site.installation.api().clone();
    // More than one strike in a run finds what the first one made.
    let _ = api.put("/orgs", &json!({"name": ORGANIZATION, "display_name": "Intruders"}));
    let register = |id: &str| -> Result<String> {
        let registration = json!({"worker_id": id, "display_name": "intruder"});
        let registered = api.post(&format!("/orgs/{ORGANIZATION}/workers"), &registration)?;
        Ok(answer::field(&registered, "token")?.to_owned())
    };
    // With the victim's worker's id, while that is connected.
    if let Ok(token) = register(site.worker_id())
        && connect(&address, site.worker_id(), &token, lasts).is_ok()
        && site.installation.live_worker()?.is_some()
    {
        bail!("a worker of another organization took the place of the victim's");
    }
    let own_id = uuid::Uuid::new_v4().to_string();
    let token = register(&own_id)?;
    let mut session = connect(&address, &own_id, &token, lasts)?;
    let targets = targets(site, victim)?;
    site.instantiate(copied(&targets).map(|target| target.name.as_str()))?;
    reports(&mut session, victim, &targets)?;
    uploads(&address, &session, &targets)?;

    let project = format!("copies-{}", own_id.get(..8).unwrap_or_default());
    let body = json!({"name": project, "display_name": "Copies", "repository": site.repository_url(), "wildcard": "packages.*"});
    api.put(&format!("/projects/{ORGANIZATION}"), &body)?;
    api.post(&format!("/projects/{ORGANIZATION}/{project}/evaluate"), &json!({}))?;
    let mut built = 0;
    while Instant::now() < until {
        // Nothing comes any more.
        let Ok((job, epoch, task)) = session.next() else { break };
        match task {
            Task::Fetch(_) => session.fetch(job, epoch)?,
            Task::Evaluate(_) => derivations(&mut session, job, epoch, way, &targets)?,
            // The victim's own output paths, with other contents.
            Task::Build(task) => {
                session.build(job, epoch, &task)?;
                built += 1;
            }
            Task::Large {} => bail!("a task that is too large for a message"),
        }
    }
    if way == Way::ToServer && built > 0 {
        bail!("forged derivations were built");
    }
    Ok(())
}

fn connect(address: &str, id: &str, token: &str, patience: Duration) -> Result<Session> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    let (socket, _) = client(format!("ws://{address}/proto"), stream)?;
    Session::open(socket, address, id, token, JobKind::ALL.to_vec())
}

fn targets(site: &Site, victim: &Evaluation) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    let builds = wait::until("builds to forge", BUILDS_KNOWN, || {
        let builds = victim.builds()?;
        anyhow::Ok((!builds.is_empty()).then_some(builds))
    })?;
    for build in builds.iter().take(BUILDS) {
        let build = site.installation.api().get(&format!("/builds/{}", answer::field(build, "id")?))?;
        let output = build.get("outputs").and_then(|outputs| outputs.get("out")).and_then(Value::as_str);
        let path = |text: &str| text.trim_start_matches("/nix/store/").parse::<StorePath>();
        targets.push(Target {
            build: answer::field(&build, "id")?.parse()?,
            name: answer::field(&build, "name")?.to_owned(),
            derivation: path(answer::field(&build, "derivation_path")?)?,
            output: path(output.context("a build without an output")?)?,
        });
    }
    Ok(targets)
}

fn reports(session: &mut Session, victim: &Evaluation, targets: &[Target]) -> Result<()> {
    let evaluation: EvaluationId = victim.id().parse()?;
    let nar = Nar::of_a_file(b"poison\n")?;
    let failed =
        || Report::Failed { failure: Failure { kind: FailureKind::Permanent, message: "forged".to_owned() }, log_bytes: 0 };
    for epoch in (1..=EPOCHS).map(Epoch) {
        session.report(Job::Fetch(evaluation), epoch, failed())?;
        session.report(Job::Evaluate(evaluation), epoch, failed())?;
        for target in targets {
            let job = Job::Build(target.build);
            let (path, nar_hash, nar_size) = (target.output.clone(), nar.hash, nar.size);
            let output = BuiltOutput { name: "out".to_owned(), path, nar_hash, nar_size, references: vec![] };
            session.report(job, epoch, Report::Built { outputs: vec![output], build_ms: 1, log_bytes: 0 })?;
            session.report(job, epoch, failed())?;
        }
    }
    Ok(())
}

/// What it sends as outputs of the victim, and what it asks for of the victim's.
fn uploads(address: &str, session: &Session, targets: &[Target]) -> Result<()> {
    let nar = Nar::of_a_file(b"poison\n")?;
    for target in targets {
        for epoch in (1..=EPOCHS).map(Epoch) {
            let path = job_path(Job::Build(target.build), epoch, &target.output);
            let put = http::put(address, &path, session.token(), "", &nar.compressed);
            let authorization = format!("authorization: Bearer {}\r\n", session.token());
            for request in [put, http::get(address, &path, &authorization)] {
                // A refusal may end the connection.
                let status = Connection::open(address)?.exchange(&request)?.status;
                if status < 400 {
                    bail!("{path} was open to another organization's worker: {status}");
                }
            }
        }
    }
    Ok(())
}

/// Those that it has evaluated as its own.
fn copied(targets: &[Target]) -> impl Iterator<Item = &Target> {
    targets.iter().filter(|target| target.name.starts_with("wide-"))
}

/// The victim's derivations: as they are, or under their names with other builders.
fn derivations(session: &mut Session, job: Job, epoch: Epoch, way: Way, targets: &[Target]) -> Result<()> {
    let mut files = Vec::new();
    for target in copied(targets) {
        let mut aterm = std::fs::read(format!("/nix/store/{}", target.derivation))?;
        if way == Way::ToServer {
            let text = String::from_utf8(aterm)?.replace("begin $name", "poison $name");
            aterm = text.into_bytes();
        }
        files.push(DerivationFile { path: target.derivation.clone(), aterm });
    }
    let entry = |file: &DerivationFile| EntryPoint {
        attribute: format!("packages.{}", file.path.name()),
        outcome: Ok(file.path.clone()),
        times: BuildTimes::default(),
    };
    let entry_points = files.iter().map(entry).collect();
    session.report(job, epoch, Report::Derivations { derivations: files, entry_points, messages: vec![] })?;
    session.report(job, epoch, Report::Evaluated {})
}
