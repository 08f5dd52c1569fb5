//! NARs that workers send: verified while they stream through, in constant memory, and kept only when they are what they
//! claim to be.

mod incoming;
mod pieces;
mod store;

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use gradient_blobs::{Blob, BlobKey, StagedFile};
use gradient_cache_protocol::ingest::{self, Candidates, Expectation, IngestError, VerifiedUpload};
use gradient_domain::{Epoch, Job, Moment, OrganizationId};
use gradient_nix::{CAHash, StorePath};
use gradient_storage::{
    Conn,
    paths::{self, NewOrganizationPath, NewStagedOutput},
};
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinHandle,
};

pub(crate) use incoming::{Incoming, incoming, max_compressed};
pub(crate) use pieces::Pieces;
pub(crate) use store::{Stored, store};

use crate::{Engine, EngineError, build_context::Place, leases::Lease, measures};

/// How long the sender may pause between two chunks.
const MAX_PAUSE: Duration = Duration::from_mins(2);

/// Why an upload was refused. Nothing of it is left.
#[derive(Debug, Error)]
pub enum UploadError {
    /// No session has this token; it may have been replaced by a newer one.
    #[error("no session has this token")]
    UnknownSession,
    /// The organization's scope has no such path.
    #[error("{0} is not there")]
    Unknown(StorePath),
    /// The session does not hold the job.
    #[error("job {job} with epoch {epoch} is not this worker's")]
    NotOwner {
        /// The job.
        job: Job,
        /// The assignment.
        epoch: Epoch,
    },
    /// The path is not an output of the build.
    #[error("{path} is not an output of {job}")]
    NotAnOutput {
        /// The path.
        path: StorePath,
        /// The job.
        job: Job,
    },
    /// A source, or an output whose path follows from its content, came without a content address, which is all that proves it.
    #[error("{0} needs a content address")]
    Undeclared(StorePath),
    /// The bytes are not what they should be.
    #[error(transparent)]
    Refused(#[from] IngestError),
    /// The worker has as many uploads on the way as it may have, and none of them ends.
    #[error("too many uploads are on the way already")]
    Busy,
    /// A piece begins elsewhere than where the last one ended.
    #[error("{found} bytes of {path} have come; go on there")]
    WrongOffset {
        /// The path.
        path: StorePath,
        /// How much has come.
        found: u64,
    },
    /// More came than a NAR may have.
    #[error("{0} is larger than what is taken")]
    TooLarge(StorePath),
    /// The sender stopped in the middle.
    #[error("the upload of {0} ended before it was complete")]
    Incomplete(StorePath),
    /// It cannot be stored now.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What a worker says of a source that it uploads.
#[derive(Debug, Clone)]
pub struct SourceDeclaration {
    /// In Nix's notation.
    pub content_address: String,
    /// What it refers to.
    pub references: Vec<StorePath>,
}

/// An upload on its way. Feed it chunks, then finish it; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    engine: Engine,
    purpose: Purpose,
    path: StorePath,
    chunks: mpsc::Sender<Bytes>,
    verifier: JoinHandle<Result<(VerifiedUpload, StagedFile), UploadError>>,
    _permit: OwnedSemaphorePermit,
}

/// What becomes of the path once it is verified.
#[derive(Debug)]
enum Purpose {
    /// Proven by its content address: it goes to the organization at once.
    Source { lease: Lease, declared: SourceDeclaration },
    /// Waits, under its assignment, for the build to finish.
    Output { job: Job, lease: Lease, address: Option<String> },
}

impl Engine {
    /// The organization whose job the session with this token holds.
    pub fn transfer_organization(&self, token: &str, job: Job, epoch: Epoch) -> Result<OrganizationId, UploadError> {
        Ok(self.lease_of(token, job, epoch)?.organization)
    }

    /// Whether the session with this token holds the job; the paths that its organization's scope lacks.
    pub async fn missing_paths(
        &self,
        token: &str,
        job: Job,
        epoch: Epoch,
        asked: Vec<StorePath>,
    ) -> Result<Vec<StorePath>, UploadError> {
        let lease = self.lease_of(token, job, epoch)?;
        let organization = lease.organization;
        let missing = self.storage().read(async move |conn: &mut Conn| paths::missing(conn, organization, &asked).await).await;
        Ok(missing.map_err(EngineError::from)?)
    }

    /// Begins to take in a path for a job.
    pub async fn begin_upload(
        &self,
        token: &str,
        job: Job,
        epoch: Epoch,
        path: StorePath,
        declared: Option<SourceDeclaration>,
    ) -> Result<Upload, UploadError> {
        let lease = self.lease_of(token, job, epoch)?;
        let permit = self.upload_permit(lease).await?;
        let (purpose, expectation) = self.purpose_of(job, lease, &path, declared).await?;
        let staged = self.blobs().staging().create().await.map_err(EngineError::from)?;
        let (chunks, from) = incoming(max_compressed(self.settings().max_nar_bytes));
        let verifier = tokio::task::spawn_blocking(move || verify(from, &expectation, staged));
        Ok(Upload { engine: self.clone(), purpose, path, chunks, verifier, _permit: permit })
    }

    async fn purpose_of(
        &self,
        job: Job,
        lease: Lease,
        path: &StorePath,
        declared: Option<SourceDeclaration>,
    ) -> Result<(Purpose, Expectation), UploadError> {
        match job {
            Job::Build(_) => self.expect_output(job, lease, path, declared).await,
            Job::Fetch(_) | Job::Evaluate(_) => {
                let declared = declared.ok_or_else(|| UploadError::Undeclared(path.clone()))?;
                let expectation = self.expect_source(path.clone(), &declared)?;
                Ok((Purpose::Source { lease, declared }, expectation))
            }
        }
    }

    pub(crate) async fn upload_permit(&self, lease: Lease) -> Result<OwnedSemaphorePermit, UploadError> {
        let uploads = self.sessions().uploads(lease.worker).ok_or(UploadError::UnknownSession)?;
        match tokio::time::timeout(MAX_PAUSE, uploads.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(UploadError::Busy),
        }
    }

    /// The compressed NAR of a path of the job's organization, or of a cache of this server that the organization reads.
    pub async fn path_nar(&self, token: &str, job: Job, epoch: Epoch, path: StorePath) -> Result<Blob, UploadError> {
        let organization = self.lease_of(token, job, epoch)?.organization;
        let wanted = path.clone();
        let found = self.storage().read(async move |conn: &mut Conn| paths::find_many(conn, organization, &[wanted]).await).await;
        let nar_hash = match found.map_err(EngineError::from)?.pop() {
            Some(found) => Some(found.nar_hash),
            None => self.readable_path(organization, &path).await?.map(|found| found.nar_hash),
        };
        let nar_hash = nar_hash.ok_or_else(|| UploadError::Unknown(path.clone()))?;
        let blob = self.blobs().get(&BlobKey::nar(&nar_hash)).await.map_err(EngineError::from)?;
        blob.ok_or(UploadError::Unknown(path))
    }

    pub(crate) fn lease_of(&self, token: &str, job: Job, epoch: Epoch) -> Result<Lease, UploadError> {
        let worker = self.sessions().authenticate(token).ok_or(UploadError::UnknownSession)?;
        self.held_lease(job, epoch, worker).ok_or(UploadError::NotOwner { job, epoch })
    }

    fn expect_source(&self, path: StorePath, declared: &SourceDeclaration) -> Result<Expectation, UploadError> {
        let address = CAHash::parse(&declared.content_address).map_err(|_| UploadError::Undeclared(path.clone()))?;
        let references = declared.references.iter().cloned().collect();
        Ok(Expectation::declared(path, address, references, self.settings().max_nar_bytes))
    }

    async fn expect_output(
        &self,
        job: Job,
        lease: Lease,
        path: &StorePath,
        declared: Option<SourceDeclaration>,
    ) -> Result<(Purpose, Expectation), UploadError> {
        let Job::Build(build) = job else { return Err(UploadError::NotAnOutput { path: path.clone(), job }) };
        let context = self.build_context(build).await?;
        let output = context.output(path).ok_or_else(|| UploadError::NotAnOutput { path: path.clone(), job })?;
        let max = self.settings().max_nar_bytes;
        let (address, expectation) = match &output.place {
            // What is fixed beforehand refers to nothing.
            Place::Known(_, Some(address)) => {
                (Some(address.clone()), Expectation::declared(path.clone(), address.clone(), BTreeSet::new(), max))
            }
            Place::Known(_, None) => (None, Expectation::new(path.clone(), Candidates::new(context.reference_candidates()), max)),
            Place::ContentAddressed { method, algorithm, .. } => {
                let declared = declared.ok_or_else(|| UploadError::Undeclared(path.clone()))?;
                let address = CAHash::parse(&declared.content_address).map_err(|_| UploadError::Undeclared(path.clone()))?;
                if (address.method(), address.hash().algorithm()) != (*method, *algorithm) {
                    return Err(UploadError::NotAnOutput { path: path.clone(), job });
                }
                // Other outputs are known by what is declared only. Whether they are outputs is seen when the build ends.
                let candidates = context.reference_candidates().into_iter().chain(declared.references.iter().cloned());
                let candidates: BTreeSet<StorePath> = candidates.chain([path.clone()]).collect();
                let expectation = Expectation {
                    references: Some(declared.references.into_iter().collect()),
                    content_address: Some(address.clone()),
                    ..Expectation::new(path.clone(), Candidates::new(candidates), max)
                };
                (Some(address), expectation)
            }
        };
        Ok((Purpose::Output { job, lease, address: address.map(|address| address.to_nix_string()) }, expectation))
    }
}

/// Runs on a thread of its own: decompresses, parses and hashes what comes, and writes it to the staging area as it came.
fn verify(
    from: Incoming,
    expectation: &Expectation,
    mut staged: StagedFile,
) -> Result<(VerifiedUpload, StagedFile), UploadError> {
    let verified = ingest::verify_and_keep(from, &mut staged, expectation)?;
    Ok((verified, staged))
}

impl Upload {
    /// Takes the next bytes, as they came. Waits while the verifier is behind.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), UploadError> {
        match tokio::time::timeout(MAX_PAUSE, self.chunks.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            // The verifier has given up; it says why when it is finished.
            Ok(Err(_)) | Err(_) => Err(UploadError::Incomplete(self.path.clone())),
        }
    }

    /// Waits for the verdict, and keeps what is good.
    pub async fn finish(self) -> Result<(), UploadError> {
        drop(self.chunks);
        let (verified, staged) = match self.verifier.await {
            Ok(verdict) => verdict?,
            Err(_) => return Err(UploadError::Incomplete(self.path)),
        };
        keep(&self.engine, self.purpose, self.path, verified, staged).await
    }
}

/// Stores what was found good, and notes whose it is. That goes on when the sender does not wait for it: a file that has its name gets
/// its row.
async fn keep(
    engine: &Engine,
    purpose: Purpose,
    path: StorePath,
    verified: VerifiedUpload,
    staged: StagedFile,
) -> Result<(), UploadError> {
    let engine = engine.clone();
    let keeping = tokio::spawn(async move { keep_now(&engine, purpose, path, verified, staged).await });
    keeping.await.map_err(|_| EngineError::Stopping)?
}

async fn keep_now(
    engine: &Engine,
    purpose: Purpose,
    path: StorePath,
    verified: VerifiedUpload,
    staged: StagedFile,
) -> Result<(), UploadError> {
    let now = Moment::now();
    // Until it has its row, so that nobody removes the file in between.
    let _turn = engine.turn_at(&verified.nar.nar_hash).await;
    let stored = store(engine, &verified, staged, now).await?;
    measures::nar_uploaded(verified.nar.nar_size);
    match purpose {
        Purpose::Source { lease, declared } => {
            let row = NewOrganizationPath {
                path,
                nar_hash: verified.nar.nar_hash,
                references: declared.references,
                deriver: None,
                content_address: Some(declared.content_address),
            };
            let insert = engine.storage().transaction(async move |conn: &mut Conn| {
                stored.claim(conn).await?;
                paths::insert_many(conn, lease.organization, vec![row], now).await
            });
            insert.await.map_err(EngineError::from)?;
        }
        Purpose::Output { job, lease, address } => {
            let Job::Build(build) = job else { return Err(UploadError::NotAnOutput { path, job }) };
            let row = NewStagedOutput {
                build,
                epoch: lease.epoch,
                path,
                nar_hash: verified.nar.nar_hash,
                references: verified.nar.references.into_iter().collect(),
                content_address: address,
                build_products: verified.nar.build_products,
            };
            let insert = engine.storage().grouped(async move |conn: &mut Conn| {
                stored.claim(conn).await?;
                paths::stage(conn, row, now).await
            });
            insert.await.map_err(EngineError::from)?;
        }
    }
    Ok(())
}
