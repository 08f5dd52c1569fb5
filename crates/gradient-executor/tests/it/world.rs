//! A worker with a store of its own, and a git repository with a flake.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use gradient_domain::{BuildTimes, JobKind, WorkerId};
use gradient_executor::{Daemons, EvaluationLimits, Machine, Nix, PeersFile, Reserve, UploadBudget, WorkerError, WorkerSettings};
use gradient_test_support::nix::{Installation, Store};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

/// A running worker.
pub(crate) struct Worker {
    pub(crate) store: Store,
    pub(crate) id: WorkerId,
    pub(crate) stop: CancellationToken,
    running: JoinHandle<Result<(), WorkerError>>,
}

/// A key as `nix-store --generate-binary-cache-key` makes it.
const SIGNING_KEY: &str =
    "cache.example-1:I7VyacR/Nm+WSQqPtcsVfWMhSsKHX8KExUgkuLQ4L/DnG/nS+ztFX/LFlRDhf04DEsfIheKv8TsYAh7vhVcwFQ==";

/// What evaluations may use where nothing else is said.
const LIMITS: EvaluationLimits = EvaluationLimits {
    processes: 2,
    memory_bytes: None,
    time: EvaluationLimits::MAX_TIME,
    attribute_time: EvaluationLimits::MAX_TIME,
};

/// A line of a peers file.
pub(crate) fn peer_line(letter: char) -> String {
    format!("*:{}\n", String::from(letter).repeat(64))
}

impl Worker {
    /// Starts one with an empty store.
    pub(crate) async fn start(installation: &Installation, server: &Url) -> Self {
        Self::start_with(installation, server, "").await
    }

    /// The same with further lines of nix.conf.
    pub(crate) async fn start_with(installation: &Installation, server: &Url, settings: &str) -> Self {
        let store = Store::new(settings).unwrap();
        let environment = store.environment();
        Self::start_in(installation, server, store, environment, None, LIMITS).await
    }

    /// Starts one with an empty store that gives evaluations and attributes so much time.
    pub(crate) async fn start_with_times(
        installation: &Installation,
        server: &Url,
        time: Duration,
        attribute_time: Duration,
    ) -> Self {
        let store = Store::new("").unwrap();
        let environment = store.environment();
        let limits = EvaluationLimits { time, attribute_time, ..LIMITS };
        Self::start_in(installation, server, store, environment, None, limits).await
    }

    /// Starts one with an empty store that evaluates with this program, which takes the arguments of `nix-eval-jobs`.
    pub(crate) async fn start_with_jobs(installation: &Installation, server: &Url, program: &str) -> Self {
        let store = Store::new("").unwrap();
        let environment = store.environment();
        let path = store.home().join("nix-eval-jobs");
        fs::write(&path, program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self::start_in(installation, server, store, environment, Some(path), LIMITS).await
    }

    /// Starts one that works on the machine's own store, with the settings of one of its own.
    pub(crate) async fn start_on_the_machine(installation: &Installation, server: &Url) -> Self {
        let store = Store::new("").unwrap();
        let environment = store.environment().into_iter().filter(|(name, _)| name != "NIX_REMOTE").collect();
        Self::start_in(installation, server, store, environment, None, LIMITS).await
    }

    async fn start_in(
        installation: &Installation,
        server: &Url,
        store: Store,
        environment: Vec<(OsString, OsString)>,
        nix_eval_jobs: Option<PathBuf>,
        evaluation: EvaluationLimits,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nix = Nix::discover(Some(installation.bin.clone()), environment).await.unwrap();
        let scratch = store.home().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let peers = store.home().join("peers");
        fs::write(&peers, peer_line('a')).unwrap();
        let id = WorkerId::random();
        let settings = WorkerSettings {
            server: server.clone(),
            id,
            peers: PeersFile::new(peers),
            kinds: vec![JobKind::Fetch, JobKind::Evaluate],
            signing_keys: SIGNING_KEY.parse().unwrap(),
            build_slots: 1,
            systems: None,
            features: None,
            program: "test".into(),
            drain_time: None,
        };
        let daemons = Arc::new(Daemons::new(&nix));
        let machine = Machine {
            nix,
            daemons,
            peer_stores: None,
            scratch,
            uploads: UploadBudget::default(),
            evaluation,
            nix_eval_jobs,
            reserve: Reserve { memory_bytes: 0, disk_bytes: 0 },
            build_times: BuildTimes::default(),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(gradient_executor::run(settings, machine, stop.clone()));
        Self { store, id, stop, running }
    }

    /// How it ends.
    pub(crate) async fn ended(self) -> Result<(), WorkerError> {
        timeout(Duration::from_mins(1), self.running).await.expect("the worker ends").unwrap()
    }
}

/// Makes a repository with one commit of these files and gives the commit.
pub(crate) fn repository(folder: &Path, files: &[(&str, &str)]) -> String {
    fs::create_dir_all(folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
    git(folder, &["init", "--quiet", "--initial-branch=trunk"]);
    git(folder, &["add", "--all"]);
    git(folder, &["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message=first"]);
    git(folder, &["rev-parse", "HEAD"])
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
