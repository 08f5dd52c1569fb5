//! What there is to know of a build before a worker can do it, and to check what the worker then says.

mod imports;
mod offers;

use std::{collections::HashMap, sync::Arc, time::Duration};

use gradient_cache_protocol::RealisationName;
use gradient_domain::{BuildId, DerivationId, OrganizationId, WorkerId};
use gradient_nix::{
    CAHash, ContentAddressMethod, Derivation, HashAlgorithm, InputDerivationHash, Output, StorePath,
    derivation::{self, ResolutionError},
    nix_derivation::{DerivationModuloHash, store_path::output_path_name},
};
use gradient_protocol::InputPath;
use gradient_storage::{
    Conn, StorageError, builds,
    derivations::{self, KnownOutputs},
    paths::OrganizationPath,
    realisations::Realisation,
};
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

    /// What the worker of a build knows of it.
    pub(crate) fn note(&self, build: BuildId, context: Arc<BuildContext>) {
        self.handed_out.insert(build, context);
    }

    /// To be called when a build has ended.
    pub(crate) fn forget(&self, build: BuildId) {
        self.handed_out.invalidate(&build);
    }
}

impl Engine {
    /// What there is to know of a build, as it is now; what that worker has made itself is there for it, and so is what others
    /// offer. Once a worker has it, it is to be [noted](BuildContexts::note).
    pub(crate) async fn load_build_context(
        &self,
        build: BuildId,
        worker: Option<WorkerId>,
    ) -> Result<Arc<BuildContext>, EngineError> {
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
        Ok(Arc::new(loaded?))
    }

    /// The same as it was when the build was handed out.
    pub(crate) async fn build_context(&self, build: BuildId) -> Result<Arc<BuildContext>, EngineError> {
        if let Some(context) = self.build_contexts().handed_out.get(&build) {
            return Ok(context);
        }
        let context = self.load_build_context(build, None).await?;
        self.build_contexts().note(build, Arc::clone(&context));
        Ok(context)
    }
}

/// A build with its derivation and the closure of its inputs.
#[derive(Debug)]
pub(crate) struct BuildContext {
    pub(crate) organization: OrganizationId,
    pub(crate) derivation: DerivationId,
    pub(crate) drv_path: StorePath,
    pub(crate) name: String,
    pub(crate) system: String,
    /// Whether it is a fetch.
    pub(crate) fixed: bool,
    /// What the worker builds: with all inputs resolved.
    pub(crate) aterm: Vec<u8>,
    /// Of a derivation whose outputs' paths are not known before it is to be built.
    pub(crate) resolution: Option<Resolution>,
    pub(crate) outputs: Vec<ExpectedOutput>,
    pub(crate) inputs: Vec<InputPath>,
    /// Those of the inputs that were on the worker only.
    pub(crate) early_inputs: Vec<StorePath>,
}

/// One output that the derivation names.
#[derive(Debug, Clone)]
pub(crate) struct ExpectedOutput {
    pub(crate) name: String,
    pub(crate) place: Place,
}

/// Where an output goes.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// To this path. What its contents must be is there when the derivation says so beforehand.
    Known(StorePath, Option<CAHash>),
    /// To the path of this name that follows from its contents, hashed so.
    ContentAddressed { name: String, method: ContentAddressMethod, algorithm: HashAlgorithm },
}

/// A derivation as it was resolved.
#[derive(Debug, Clone)]
pub(crate) struct Resolution {
    /// What the realisations of its outputs are named by: the derivation itself up to Nix 2.34, if its inputs have hashes.
    pub(crate) hash: Option<[u8; 32]>,
    /// The same from 2.35 on: what it was resolved to.
    pub(crate) derivation: StorePath,
}

impl Resolution {
    /// What these outputs turned out to be, under the names that caches serve it by.
    pub(crate) fn realisations(&self, outputs: &[(String, StorePath)]) -> Vec<Realisation> {
        let hash = self.hash.map(|hash| DerivationModuloHash::new(hash).to_string());
        let names = |output: &String| {
            let old = hash.clone().map(|hash| RealisationName::Realisation { hash, output: output.clone() });
            let new = RealisationName::BuildTrace { derivation: self.derivation.clone(), output: output.clone() };
            old.into_iter().chain([new])
        };
        let of_output = |(output, path): &(String, StorePath)| {
            let path = path.clone();
            names(output).map(move |name| Realisation { name: name.to_string(), path: path.clone() }).collect::<Vec<_>>()
        };
        outputs.iter().flat_map(of_output).collect()
    }
}

impl ExpectedOutput {
    /// Its path, if that is known beforehand.
    pub(crate) const fn path(&self) -> Option<&StorePath> {
        match &self.place {
            Place::Known(path, _) => Some(path),
            Place::ContentAddressed { .. } => None,
        }
    }

    /// Whether it may be at this path.
    pub(crate) fn may_be(&self, path: &StorePath) -> bool {
        match &self.place {
            Place::Known(known, _) => known == path,
            Place::ContentAddressed { name, .. } => path.name() == name,
        }
    }
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
        known_paths: &KnownPaths,
        made: &(dyn Fn(OrganizationId, &StorePath) -> Option<OrganizationPath> + Send + Sync),
        offers: &HashMap<StorePath, InputOffer>,
    ) -> Result<Self, ContextError> {
        let build = builds::find(conn, build).await?;
        let row = derivations::find(conn, build.derivation).await?;
        let damaged = || ContextError::Damaged(row.drv_path.clone());
        let name = row.drv_path.name().strip_suffix(".drv").ok_or_else(damaged)?;
        let derivation = Derivation::from_aterm_bytes(&row.aterm, name).map_err(|_| damaged())?;
        let drv_paths: Vec<StorePath> = derivation.input_derivations().keys().cloned().map(StorePath::from).collect();
        let organization = row.organization;
        let known = derivations::output_paths(conn, organization, &drv_paths).await?;
        let roots = input_roots(organization, &derivation, &known)?;
        let (derivation, resolution) = resolve(derivation, &known).ok_or_else(damaged)?;
        let outputs = expected_outputs(&derivation).ok_or_else(damaged)?;
        let closure = closure::of(conn, organization, roots, known_paths, &|path| made(organization, path), offers).await?;
        if !closure.missing.is_empty() {
            return Err(ContextError::InputsMissing { organization, paths: closure.missing });
        }
        let inputs = closure.paths.into_iter().map(|path| input_path(path, offers));
        Ok(Self {
            organization: row.organization,
            derivation: row.id,
            drv_path: row.drv_path.clone(),
            name: row.name,
            system: row.system,
            fixed: row.fixed,
            inputs: inputs.collect(),
            early_inputs: closure.made,
            outputs,
            aterm: derivation.to_aterm_bytes(),
            resolution,
        })
    }

    /// Everything that an output may refer to, and is known beforehand.
    pub(crate) fn reference_candidates(&self) -> Vec<StorePath> {
        self.inputs.iter().map(|input| &input.path).chain(self.outputs.iter().filter_map(ExpectedOutput::path)).cloned().collect()
    }

    /// The output that is at this path, or may turn out to be.
    pub(crate) fn output(&self, path: &StorePath) -> Option<&ExpectedOutput> {
        self.outputs.iter().find(|output| output.may_be(path))
    }
}

/// How a worker gets a path.
fn input_path(path: OrganizationPath, offers: &HashMap<StorePath, InputOffer>) -> InputPath {
    InputPath {
        upstream: offers.get(&path.path).filter(|offer| offer.path == path).and_then(|offer| offer.nar.clone()),
        path: path.path,
        nar_hash: path.nar_hash,
        nar_size: u64::try_from(path.nar_size).unwrap_or(0),
        references: path.references,
        deriver: path.deriver,
        content_address: path.content_address,
    }
}

fn expected_outputs(derivation: &Derivation) -> Option<Vec<ExpectedOutput>> {
    let place = |name: &String, output: &Output| match output {
        Output::Floating { method, hash_algorithm } => {
            let (method, algorithm) = (*method, *hash_algorithm);
            Some(Place::ContentAddressed { name: output_path_name(derivation.name(), name).ok()?, method, algorithm })
        }
        output => {
            let path = output.path(derivation.name(), name).ok()??;
            Some(Place::Known(path.into(), output.fixed_content_address().cloned()))
        }
    };
    let outputs = derivation.outputs().iter();
    outputs.map(|(name, output)| Some(ExpectedOutput { name: name.clone(), place: place(name, output)? })).collect()
}

/// The sources and the wanted outputs of the input derivations.
fn input_roots(
    organization: OrganizationId,
    derivation: &Derivation,
    known: &HashMap<StorePath, KnownOutputs>,
) -> Result<Vec<StorePath>, ContextError> {
    let mut roots: Vec<StorePath> = derivation.input_sources().iter().cloned().map(StorePath::from).collect();
    let mut missing = Vec::new();
    for (drv_path, input) in derivation.input_derivations() {
        let drv_path = StorePath::from(drv_path.clone());
        for output in input.outputs() {
            match known.get(&drv_path).and_then(|known| known.paths.get(output)) {
                Some(path) => roots.push(path.clone()),
                None => missing.push(drv_path.clone()),
            }
        }
    }
    if missing.is_empty() { Ok(roots) } else { Err(ContextError::InputsMissing { organization, paths: missing }) }
}

/// What is built: the derivation itself, or, when something in it stands for what was not known before, what that has become.
/// Nothing when it cannot be resolved although its inputs are known.
fn resolve(derivation: Derivation, known: &HashMap<StorePath, KnownOutputs>) -> Option<(Derivation, Option<Resolution>)> {
    let is_unresolved = derivation::is_unresolved(&derivation);
    if !is_unresolved && !known.values().any(|input| matches!(input.input_hash, InputDerivationHash::Deferred(_))) {
        return Some((derivation, None));
    }
    let path_of = |input: &StorePath, output: &str| known.get(input)?.paths.get(output).cloned();
    let resolved = match derivation::resolve(&derivation, path_of) {
        Ok(resolved) => resolved,
        Err(ResolutionError::Unknown { .. } | ResolutionError::Dynamic | ResolutionError::Invalid(_)) => return None,
    };
    let hash = derivation::realisation_hash(&derivation, |input| Some(known.get(input)?.input_hash));
    let resolution = Resolution { hash, derivation: resolved.drv_path().ok()?.into() };
    Some((resolved, is_unresolved.then_some(resolution)))
}
