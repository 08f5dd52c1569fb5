//! What there is to know of a build before a worker can do it, and to check what the worker then says.

mod offers;

use std::{collections::HashMap, sync::Arc, time::Duration};

use gradient_domain::{BuildId, OrganizationId, WorkerId};
use gradient_nix::{CAHash, Derivation, StorePath};
use gradient_protocol::InputPath;
use gradient_storage::{Conn, StorageError, builds, derivations, paths::OrganizationPath};
use thiserror::Error;

use crate::{
    Engine, EngineError,
    closure::{self, KnownPaths},
    made::MadeOutputs,
    substituter::InputOffer,
};

/// The memory that the contexts of running builds may take, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// How long one is kept that nobody asks for.
const MAX_IDLE: Duration = Duration::from_hours(1);

/// What other caches have of what a build needs.
type Offers = Arc<HashMap<StorePath, InputOffer>>;

/// The contexts of builds that were handed out, for what their workers send then.
#[derive(Debug)]
pub(crate) struct BuildContexts {
    handed_out: moka::sync::Cache<BuildId, Arc<BuildContext>>,
    known: KnownPaths,
    made: MadeOutputs,
}

impl BuildContexts {
    pub(crate) fn new() -> Self {
        let weigh = |_: &BuildId, context: &Arc<BuildContext>| {
            let inputs = context.inputs.iter().map(|input| {
                let upstream = input.upstream.as_ref().map_or(0, |nar| 400 + nar.url.len());
                400 + 100 * input.references.len() + upstream
            });
            u32::try_from(context.aterm.len() + 400 + inputs.sum::<usize>()).unwrap_or(u32::MAX)
        };
        let handed_out = moka::sync::Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).time_to_idle(MAX_IDLE).build();
        Self { handed_out, known: KnownPaths::new(), made: MadeOutputs::new() }
    }

    pub(crate) fn made(&self) -> &MadeOutputs {
        &self.made
    }

    /// To be called when a build has ended.
    pub(crate) fn forget(&self, build: BuildId) {
        self.handed_out.invalidate(&build);
    }
}

impl Engine {
    /// What a worker is to know of a build, as it is now; what that worker has made itself is there for it, and so is what others
    /// offer.
    pub(crate) async fn hand_out(&self, build: BuildId, worker: Option<WorkerId>) -> Result<Arc<BuildContext>, EngineError> {
        let mut offers = Arc::new(HashMap::new());
        let load = async |offers: &Offers| {
            let (engine, offers) = (self.clone(), Arc::clone(offers));
            let known = self.build_contexts().known.clone();
            let load = async move |conn: &mut Conn| {
                let made = |organization, path: &StorePath| engine.made_output(organization, worker?, path);
                Ok(BuildContext::load(conn, build, &known, &made, &offers).await)
            };
            Ok::<_, EngineError>(self.storage().read(load).await?)
        };
        let mut loaded = load(&offers).await?;
        if let (Err(ContextError::InputsMissing { .. }), true) = (&loaded, worker.is_some()) {
            // What was made has become durable in between, perhaps.
            loaded = load(&offers).await?;
        }
        if let Err(ContextError::InputsMissing { organization, paths }) = loaded {
            offers = Arc::new(offers::of(self, organization, paths).await?);
            loaded = load(&offers).await?;
        }
        let context = Arc::new(loaded?);
        self.build_contexts().handed_out.insert(build, Arc::clone(&context));
        Ok(context)
    }

    /// The same as it was when the build was handed out.
    pub(crate) async fn build_context(&self, build: BuildId) -> Result<Arc<BuildContext>, EngineError> {
        match self.build_contexts().handed_out.get(&build) {
            Some(context) => Ok(context),
            None => self.hand_out(build, None).await,
        }
    }
}

/// A build with its derivation and the closure of its inputs.
#[derive(Debug)]
pub(crate) struct BuildContext {
    pub(crate) organization: OrganizationId,
    pub(crate) drv_path: StorePath,
    pub(crate) name: String,
    pub(crate) system: String,
    /// Whether it is a fetch.
    pub(crate) fixed: bool,
    pub(crate) aterm: Vec<u8>,
    pub(crate) outputs: Vec<ExpectedOutput>,
    pub(crate) inputs: Vec<InputPath>,
    /// Those of the inputs that were on the worker only.
    pub(crate) early_inputs: Vec<StorePath>,
}

/// One output that the derivation names.
#[derive(Debug, Clone)]
pub(crate) struct ExpectedOutput {
    pub(crate) name: String,
    pub(crate) path: StorePath,
    /// What its contents must be, when the derivation says so beforehand.
    pub(crate) fixed: Option<CAHash>,
}

/// Why a build cannot be handed out.
#[derive(Debug, Error)]
pub(crate) enum ContextError {
    #[error("inputs are neither in the organization's scope nor in an upstream: {}", list(.paths))]
    InputsMissing { organization: OrganizationId, paths: Vec<StorePath> },
    #[error("the stored derivation {0} cannot be read")]
    Damaged(StorePath),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<ContextError> for EngineError {
    fn from(error: ContextError) -> Self {
        match error {
            ContextError::Storage(error) => Self::Storage(error),
            missing @ ContextError::InputsMissing { .. } => Self::InputsMissing(missing.to_string()),
            damaged @ ContextError::Damaged(_) => Self::Damaged(damaged.to_string()),
        }
    }
}

fn list(paths: &[StorePath]) -> String {
    let mut names: Vec<_> = paths.iter().take(5).map(ToString::to_string).collect();
    if paths.len() > names.len() {
        names.push(format!("and {} more", paths.len() - names.len()));
    }
    names.join(", ")
}

impl BuildContext {
    async fn load(
        conn: &mut Conn,
        build: BuildId,
        known: &KnownPaths,
        made: &(dyn Fn(OrganizationId, &StorePath) -> Option<OrganizationPath> + Send + Sync),
        offers: &HashMap<StorePath, InputOffer>,
    ) -> Result<Self, ContextError> {
        let build = builds::find(conn, build).await?;
        let row = derivations::find(conn, build.derivation).await?;
        let damaged = || ContextError::Damaged(row.drv_path.clone());
        let name = row.drv_path.name().strip_suffix(".drv").ok_or_else(damaged)?;
        let derivation = Derivation::from_aterm_bytes(&row.aterm, name).map_err(|_| damaged())?;
        let outputs = expected_outputs(&derivation).ok_or_else(damaged)?;
        let roots = input_roots(conn, row.organization, &derivation).await?;
        let organization = row.organization;
        let closure = closure::of(conn, organization, roots, known, &|path| made(organization, path), offers).await?;
        if !closure.missing.is_empty() {
            return Err(ContextError::InputsMissing { organization, paths: closure.missing });
        }
        let inputs = closure.paths.into_iter().map(|path| InputPath {
            upstream: offers.get(&path.path).filter(|offer| offer.path == path).and_then(|offer| offer.nar.clone()),
            path: path.path,
            nar_hash: path.nar_hash,
            nar_size: u64::try_from(path.nar_size).unwrap_or(0),
            references: path.references,
            deriver: path.deriver,
            content_address: path.content_address,
        });
        Ok(Self {
            organization: row.organization,
            drv_path: row.drv_path.clone(),
            name: row.name,
            system: row.system,
            fixed: row.fixed,
            inputs: inputs.collect(),
            early_inputs: closure.made,
            outputs,
            aterm: row.aterm,
        })
    }

    /// Everything that an output may refer to.
    pub(crate) fn reference_candidates(&self) -> Vec<StorePath> {
        self.inputs.iter().map(|input| &input.path).chain(self.outputs.iter().map(|output| &output.path)).cloned().collect()
    }

    pub(crate) fn output(&self, path: &StorePath) -> Option<&ExpectedOutput> {
        self.outputs.iter().find(|output| output.path == *path)
    }
}

fn expected_outputs(derivation: &Derivation) -> Option<Vec<ExpectedOutput>> {
    let outputs = derivation.resolved_outputs().ok()?;
    outputs
        .into_iter()
        .map(|(name, output)| Some(ExpectedOutput { name, path: output.path?.into(), fixed: output.ca_hash }))
        .collect()
}

/// The sources and the wanted outputs of the input derivations.
async fn input_roots(
    conn: &mut Conn,
    organization: OrganizationId,
    derivation: &Derivation,
) -> Result<Vec<StorePath>, ContextError> {
    let wanted = derivation.input_derivations();
    let drv_paths: Vec<StorePath> = wanted.keys().cloned().map(StorePath::from).collect();
    let known = derivations::output_paths(conn, organization, &drv_paths).await?;
    let mut roots: Vec<StorePath> = derivation.input_sources().iter().cloned().map(StorePath::from).collect();
    let mut missing = Vec::new();
    for (drv_path, input) in wanted {
        let drv_path = StorePath::from(drv_path.clone());
        for output in input.outputs() {
            match known.get(&drv_path).and_then(|paths| paths.get(output)) {
                Some(path) => roots.push(path.clone()),
                None => missing.push(drv_path.clone()),
            }
        }
    }
    if missing.is_empty() { Ok(roots) } else { Err(ContextError::InputsMissing { organization, paths: missing }) }
}
