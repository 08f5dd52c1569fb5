//! Wires the parts together and runs them.

use std::{
    env,
    ffi::OsString,
    num::{NonZeroU64, TryFromIntError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use gradient_domain::{BuildTimes, JobKind, WorkerId};
use gradient_executor::{
    Daemons, EvaluationLimits, Machine, Nix, PeerStores, PeersFile, Reserve, SigningKeys, UploadBudget, WorkerSettings,
};
use gradient_telemetry as telemetry;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{WrongSetting, arguments::Arguments, directories, shutdown};

/// Runs the worker as a process of its own.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    telemetry::init(&telemetry::Settings { format: arguments.log_format, filter: &arguments.log })
        .map_err(|error| WrongSetting::new("GRADIENT_LOG", &error.to_string()))?;
    // Only fails when a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work_until_told(arguments))
}

/// Works until `stop` is cancelled and all jobs have ended. Logging and a TLS provider are set up before.
pub async fn work(arguments: Arguments, stop: CancellationToken) -> anyhow::Result<()> {
    let server = server(arguments.server_url.as_deref())?;
    let kinds = kinds(&arguments)?;
    let signing_keys = signing_keys(&arguments)?;
    let evaluation = evaluation_limits(&arguments)?;
    let base = directories::base(arguments.base_dir)?;
    // Before the peers, which take it to be registered.
    let id = match arguments.id {
        Some(id) => id,
        None => gradient_executor::worker_id(&base)
            .map_err(|error| WrongSetting::new("GRADIENT_WORKER_ID", &format!("is not set, and {error}")))?,
    };
    let peers = peers(arguments.peers_file.unwrap_or_else(|| base.join("peers")), id)?;
    let nix = Nix::discover(arguments.nix_dir, nix_environment(&base)).await.context("there is no Nix to work with")?;
    let daemons = Daemons::new(&nix);
    let peer_stores = peer_stores(arguments.separate_stores, &base, &nix)?;
    if kinds.contains(&JobKind::Build) {
        let checked = match &peer_stores {
            Some(stores) => stores.check(&nix).await,
            None => daemons.check().await,
        };
        checked.context(
                "this worker cannot build (docs/worker.md tells what Nix needs for it); GRADIENT_WORKER_CAPABILITIES_BUILD=false makes it do the rest",
            )?;
    }
    let nix_eval_jobs = nix_eval_jobs(arguments.nix_eval_jobs)?;
    tracing::info!(worker = %id, nix = nix.version(), systems = nix.systems().join(" "), features = nix.features().join(" "), "starting");
    let reserve = Reserve { memory_bytes: arguments.min_free_memory_bytes, disk_bytes: arguments.min_free_disk_bytes };
    let machine = Machine {
        nix,
        daemons: Arc::new(daemons),
        peer_stores,
        scratch: directories::scratch(&base)?,
        uploads: UploadBudget::default(),
        evaluation,
        nix_eval_jobs,
        reserve,
        build_times: BuildTimes {
            timeout_secs: arguments.max_build_timeout_secs.map(NonZeroU64::get),
            max_silent_secs: arguments.max_build_silent_secs.map(NonZeroU64::get),
        },
    };
    let settings = WorkerSettings {
        server,
        id,
        peers,
        kinds,
        signing_keys,
        build_slots: arguments.max_concurrent_builds.unwrap_or_else(cores),
        systems: arguments.systems,
        features: arguments.system_features,
        program: concat!("gradient-worker ", env!("CARGO_PKG_VERSION")).to_owned(),
        drain_time: (arguments.drain_secs > 0).then(|| Duration::from_secs(arguments.drain_secs)),
    };

    Ok(gradient_executor::run(settings, machine, stop).await?)
}

/// Works until the first signal, and then until what runs has ended.
async fn work_until_told(arguments: Arguments) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let working = work(arguments, stop.clone());
    tokio::pin!(working);
    tokio::select! {
        outcome = &mut working => return outcome,
        requested = shutdown::requested() => requested?,
    }
    tracing::info!("finishing what runs; a second signal ends it at once");
    stop.cancel();
    working.await
}

fn evaluation_limits(arguments: &Arguments) -> Result<EvaluationLimits, TryFromIntError> {
    let mut limits = EvaluationLimits::of_this_machine();
    if let Some(processes) = arguments.eval_processes {
        limits = limits.with_processes(processes.try_into()?);
    }
    Ok(EvaluationLimits {
        memory_bytes: arguments.eval_memory_bytes.or(limits.memory_bytes),
        time: Duration::from_secs(arguments.eval_timeout_secs),
        attribute_time: Duration::from_secs(arguments.eval_attribute_timeout_secs),
        ..limits
    })
}

fn server(url: Option<&str>) -> Result<Url, WrongSetting> {
    let wrong = |text: &str| WrongSetting::new("GRADIENT_WORKER_SERVER_URL", text);
    let text = url.ok_or_else(|| wrong("is needed: expected the server's socket, such as wss://ci.example.org/proto"))?;
    let url: Url = text.parse().map_err(|error| wrong(&format!("is no URL ({error}): expected ws://… or wss://…")))?;
    match url.scheme() {
        "ws" | "wss" if url.has_host() => Ok(url),
        scheme => Err(wrong(&format!("begins with {scheme}:, expected ws://… or wss://…, such as wss://ci.example.org/proto"))),
    }
}

fn kinds(arguments: &Arguments) -> Result<Vec<JobKind>, WrongSetting> {
    let wanted = [
        (JobKind::Fetch, arguments.capabilities_fetch),
        (JobKind::Evaluate, arguments.capabilities_eval),
        (JobKind::Build, arguments.capabilities_build),
    ];
    let kinds: Vec<JobKind> = wanted.into_iter().filter_map(|(kind, wanted)| wanted.then_some(kind)).collect();
    if kinds.is_empty() && !arguments.capabilities_sign {
        let wrong = "is false like all other capabilities: expected at least one that is true";
        return Err(WrongSetting::new("GRADIENT_WORKER_CAPABILITIES_BUILD", wrong));
    }
    Ok(kinds)
}

/// None, unless it is to sign.
fn signing_keys(arguments: &Arguments) -> Result<SigningKeys, WrongSetting> {
    let wrong = |text: &str| WrongSetting::new("GRADIENT_WORKER_SIGNING_KEY_FILE", text);
    let file = match &arguments.signing_key_file {
        _ if !arguments.capabilities_sign => return Ok(SigningKeys::default()),
        Some(file) => file,
        None => {
            return Err(wrong(
                "is needed when GRADIENT_WORKER_CAPABILITIES_SIGN is true: expected a file that nix-store --generate-binary-cache-key made",
            ));
        }
    };
    SigningKeys::read(file).map_err(|error| wrong(&format!("is {}, which {error}", file.display())))
}

/// None, unless each organization is to have its own. Without a sandbox a builder would see the stores of all.
fn peer_stores(separate: bool, base: &Path, nix: &Nix) -> Result<Option<PeerStores>, WrongSetting> {
    if separate && !nix.is_sandboxed() {
        let wrong = "is true, but this Nix builds without a sandbox, in which a builder of one organization sees what belongs to another: \
                     set sandbox = true in nix.conf";
        return Err(WrongSetting::new("GRADIENT_WORKER_SEPARATE_STORES", wrong));
    }
    Ok(separate.then(|| PeerStores::new(base.join("stores"))))
}

/// Read once now, so that a mistake is told at once and not after the first connection.
fn peers(path: PathBuf, id: WorkerId) -> Result<PeersFile, WrongSetting> {
    let shown = path.display().to_string();
    let file = PeersFile::new(path);
    match file.read() {
        Ok(_) => Ok(file),
        Err(error) => {
            let wrong = format!(
                "is {shown}: {error}; expected a file with lines of the form <peer id>:<token> or *:<token>. An organization gives \
                 both when this worker, {id}, is registered with it: POST /api/v1/orgs/<organization>/workers"
            );
            Err(WrongSetting::new("GRADIENT_WORKER_PEERS_FILE", &wrong))
        }
    }
}

/// The one that is named, or else the one in `PATH`.
fn nix_eval_jobs(named: Option<OsString>) -> Result<Option<PathBuf>, WrongSetting> {
    let Some(named) = named else {
        let path = env::var_os("PATH").unwrap_or_default();
        return Ok(env::split_paths(&path).map(|directory| directory.join("nix-eval-jobs")).find(|program| program.is_file()));
    };
    if named.is_empty() {
        return Ok(None);
    }
    let wrong = |error| WrongSetting::new("GRADIENT_WORKER_NIX_EVAL_JOBS", &format!("is {}: {error}", named.display()));
    std::fs::canonicalize(&named).map(Some).map_err(wrong)
}

/// What says which store it is, for those parts that have to know it themselves, and where Nix keeps its caches when this user
/// has no home.
fn nix_environment(base: &Path) -> Vec<(OsString, OsString)> {
    let remote = env::var_os("NIX_REMOTE").map(|remote| ("NIX_REMOTE".into(), remote));
    let home = env::var_os("HOME").is_none_or(|home| home.is_empty()).then(|| ("HOME".into(), base.as_os_str().to_owned()));
    remote.into_iter().chain(home).collect()
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1))
}
