use gradient_nix::{NarHash, NixHash, StorePath};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Operation, Reader, parse_path, paths, read_paths, skip_events};
use crate::Error;

/// What the store knows of one valid path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// The path.
    pub path: StorePath,
    /// The derivation that it is an output of.
    pub deriver: Option<StorePath>,
    /// The hash of its NAR.
    pub nar_hash: NarHash,
    /// The size of its NAR in bytes.
    pub nar_size: u64,
    /// What it refers to, itself included where it does.
    pub references: Vec<StorePath>,
    /// Seconds since 1970 when it became valid.
    pub registration_time: u64,
    /// Whether it was built here.
    pub ultimate: bool,
    /// Signatures, `<key name>:<base64>`.
    pub signatures: Vec<String>,
    /// Its content address, in Nix's notation.
    pub content_address: Option<String>,
}

/// What a deletion removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The paths that are gone.
    pub paths: Vec<StorePath>,
    /// How many bytes that freed.
    pub bytes_freed: u64,
}

/// How many operations are sent before the first answer is read: what they and their answers take fits into a pipe, so that neither
/// side waits for the other.
const AHEAD: usize = 128;

/// Delete exactly the given paths.
const DELETE_SPECIFIC: u64 = 3;

impl Connection {
    /// Whether the store has the path.
    pub async fn is_valid_path(&mut self, path: &StorePath) -> Result<bool, Error> {
        self.begin(Operation::IsValidPath)?.text(path.to_absolute());
        let valid = self.answer().await?.flag().await?;
        self.end();
        Ok(valid)
    }

    /// Those of the paths that the store has. Nothing is substituted.
    pub async fn query_valid_paths<'a>(
        &mut self,
        asked: impl ExactSizeIterator<Item = &'a StorePath> + Send,
    ) -> Result<Vec<StorePath>, Error> {
        let writer = self.begin(Operation::QueryValidPaths)?;
        paths(writer, asked);
        writer.flag(false);
        let valid = read_paths(self.answer().await?).await?;
        self.end();
        Ok(valid)
    }

    /// What the store knows of the path; `None` when it has it not.
    pub async fn query_path_info(&mut self, path: &StorePath) -> Result<Option<PathInfo>, Error> {
        self.begin(Operation::QueryPathInfo)?.text(path.to_absolute());
        let reader = self.answer().await?;
        let info = read_path_info(reader, path).await?;
        self.end();
        Ok(info)
    }

    /// The same for many paths, in their order.
    pub async fn query_path_infos(&mut self, paths: &[&StorePath]) -> Result<Vec<Option<PathInfo>>, Error> {
        let mut infos = Vec::with_capacity(paths.len());
        for some in paths.chunks(AHEAD) {
            self.send_ahead(Operation::QueryPathInfo, some).await?;
            for path in some {
                skip_events(&mut self.reader).await?;
                infos.push(read_path_info(&mut self.reader, path).await?);
            }
            self.end();
        }
        Ok(infos)
    }

    /// Keeps the path from the garbage collector for as long as this connection lives.
    pub async fn add_temp_root(&mut self, path: &StorePath) -> Result<(), Error> {
        self.begin(Operation::AddTempRoot)?.text(path.to_absolute());
        self.answer().await?.number().await?;
        self.end();
        Ok(())
    }

    /// The same for many paths. They are sent ahead of the answers, so that they take no longer than one, nearly.
    pub async fn add_temp_roots(&mut self, paths: &[&StorePath]) -> Result<(), Error> {
        for some in paths.chunks(AHEAD) {
            self.send_ahead(Operation::AddTempRoot, some).await?;
            for _ in some {
                skip_events(&mut self.reader).await?;
                self.reader.number().await?;
            }
            self.end();
        }
        Ok(())
    }

    /// Sends an operation for each path, before any of the answers is read.
    async fn send_ahead(&mut self, operation: Operation, paths: &[&StorePath]) -> Result<(), Error> {
        for (place, path) in paths.iter().enumerate() {
            let writer = if place == 0 { self.begin(operation)? } else { self.writer.number(operation.number()) };
            writer.text(path.to_absolute());
        }
        self.writer.flush().await
    }

    /// Adds a path from its NAR, without asking for signatures; the daemon checks hash and size, and has to trust this client.
    /// What the path refers to has to be there before.
    pub async fn add_to_store(&mut self, info: &PathInfo, nar: &mut (dyn AsyncRead + Send + Unpin)) -> Result<(), Error> {
        let writer = self.begin(Operation::AddToStoreNar)?;
        writer.text(info.path.to_absolute());
        writer.text(info.deriver.as_ref().map(StorePath::to_absolute).unwrap_or_default());
        writer.text(base16(info.nar_hash));
        paths(writer, info.references.iter());
        writer.number(info.registration_time).number(info.nar_size).flag(info.ultimate);
        writer.texts(info.signatures.iter());
        writer.text(info.content_address.as_deref().unwrap_or_default());
        // Do not repair, do not check signatures.
        writer.flag(false).flag(true);
        // The daemon may speak while it is being sent the NAR, and has to be heard or it stops reading.
        let Self { reader, writer, .. } = self;
        tokio::try_join!(writer.frames(info.nar_size, nar), skip_events(reader))?;
        self.end();
        Ok(())
    }

    /// Writes the NAR of a path, whose size [`PathInfo`] tells, to `to`.
    pub async fn nar_from_path(
        &mut self,
        path: &StorePath,
        nar_size: u64,
        to: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<(), Error> {
        self.begin(Operation::NarFromPath)?.text(path.to_absolute());
        self.answer().await?.copy(nar_size, to).await?;
        self.end();
        Ok(())
    }

    /// Deletes the paths, and what refers to them. Refused when one of them is in use: by a root, by another connection's
    /// temporary root or by this one's.
    pub async fn delete<'a>(&mut self, dead: impl ExactSizeIterator<Item = &'a StorePath> + Send) -> Result<Collected, Error> {
        let writer = self.begin(Operation::CollectGarbage)?.number(DELETE_SPECIFIC);
        paths(writer, dead);
        // Respect what is in use; no bound on the bytes; three obsolete ones.
        writer.flag(false).number(u64::MAX).number(0).number(0).number(0);
        let reader = self.answer().await?;
        let collected = Collected { paths: read_paths(reader).await?, bytes_freed: reader.number().await? };
        reader.number().await?;
        self.end();
        Ok(collected)
    }
}

async fn read_path_info(reader: &mut Reader, path: &StorePath) -> Result<Option<PathInfo>, Error> {
    if !reader.flag().await? {
        return Ok(None);
    }
    let deriver = reader.text().await?;
    Ok(Some(PathInfo {
        path: path.clone(),
        deriver: if deriver.is_empty() { None } else { Some(parse_path(&deriver)?) },
        nar_hash: nar_hash(&reader.text().await?)?,
        references: read_paths(reader).await?,
        registration_time: reader.number().await?,
        nar_size: reader.number().await?,
        ultimate: reader.flag().await?,
        signatures: reader.texts().await?,
        content_address: Some(reader.text().await?).filter(|address| !address.is_empty()),
    }))
}

fn nar_hash(base16: &str) -> Result<NarHash, Error> {
    format!("sha256:{base16}").parse().map_err(|_| Error::Malformed("a NAR's hash"))
}

fn base16(hash: NarHash) -> String {
    let tagged = NixHash::from(hash).to_nix_base16_string();
    tagged.strip_prefix("sha256:").map_or(tagged.clone(), str::to_owned)
}
