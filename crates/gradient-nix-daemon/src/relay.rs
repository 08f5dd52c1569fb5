//! A daemon for evaluators that stands between them and a real one. What they write most, derivations, it keeps itself, where a
//! store would register each in its database while all other evaluators wait; everything else the real daemon does.

mod info;
mod shape;
mod watch;

use std::io;

use gradient_nix::{CAHash, Derivation, StoreDir, StorePath};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};

use crate::{
    Daemon, Error,
    connection::{
        handshake::{CLIENT_MAGIC, DAEMON_MAGIC, MAJOR, shake},
        process::Process,
        skip_events,
    },
    event::{self, LAST},
    wire::{Reader, Writer},
};
use info::{Info, sha256};
use shape::{Field, Value};
pub use watch::RelayedBuild;
use watch::Watch;

/// The protocol's version on both sides: the last one in which everything that an evaluator asks has one simple shape.
const MINOR: u64 = 33;

/// What clients are told of this daemon's version; they only show it.
const NIX_VERSION: &str = "2.8.0";

/// The largest derivation.
const MAX_DERIVATION_BYTES: u64 = 64 << 20;

const IS_VALID_PATH: u64 = 1;
const ADD_TO_STORE: u64 = 7;
const BUILD_PATHS: u64 = 9;
const ADD_TEMP_ROOT: u64 = 11;
const QUERY_DERIVATION_OUTPUT_MAP: u64 = 41;

/// Where derivations are kept.
pub trait DerivationKeeper: Sync {
    /// Takes one; the same one may come again.
    fn keep(&self, path: &StorePath, aterm: &[u8]) -> io::Result<()>;
    /// Gives one back, when it is there.
    fn kept(&self, path: &StorePath) -> io::Result<Option<Vec<u8>>>;
    /// Notes that the store has one now; false when it was noted before.
    fn note_stored(&self, path: &StorePath) -> bool;
    /// Notes that the client counts on a path of the store to stay: what keeps it from being collected goes with the client.
    fn note_used(&self, path: &StorePath);
}

/// Derivations that a client wants to have built: it waits until it is said that the store is ready for that.
#[derive(Debug)]
pub struct WantedBuilds {
    /// Which, with the outputs that are wanted; all of them where none is named.
    pub derivations: Vec<(StorePath, Vec<String>)>,
    /// To be told when whatever can be had without building is in the store; dropped, it says the same.
    pub ready: oneshot::Sender<()>,
}

/// Who listens to what passes by.
#[derive(Debug, Clone, Default)]
pub struct Listeners {
    /// Hears what is to be built, before that.
    pub wanted: Option<mpsc::Sender<WantedBuilds>>,
    /// Hears what is built; the daemon waits for whoever listens here.
    pub builds: Option<mpsc::Sender<RelayedBuild>>,
}

/// Serves one client until it leaves; [`Error::Io`] means that it, or the daemon, left in the middle of something. An operation
/// that is not known here is another error, after which the client is alone.
pub async fn relay(
    reader: impl AsyncRead + Send + Unpin + 'static,
    writer: impl AsyncWrite + Send + Unpin + 'static,
    daemon: &Daemon,
    keeper: &dyn DerivationKeeper,
    listeners: Listeners,
) -> Result<(), Error> {
    let client = Side { reader: Reader::new(Box::new(reader)), writer: Writer::new(Box::new(writer)) };
    let (stdout, stdin, process) = daemon.start_silently()?;
    let mut store = Side { reader: Reader::new(Box::new(stdout)), writer: Writer::new(Box::new(stdin)) };
    shake(&mut store.reader, &mut store.writer, MINOR).await.map_err(|error| Error::Ended(error.to_string()))?;
    let Listeners { wanted, builds } = listeners;
    let mut relay =
        Relay { client, store, keeper, wanted, watch: builds.map(Watch::new), about_to_write: None, _process: process };
    let served = relay.serve().await;
    if let Some(watch) = relay.watch {
        watch.leave().await;
    }
    served
}

struct Side {
    reader: Reader,
    writer: Writer,
}

struct Relay<'k> {
    client: Side,
    store: Side,
    keeper: &'k dyn DerivationKeeper,
    wanted: Option<mpsc::Sender<WantedBuilds>>,
    watch: Option<Watch>,
    /// The derivation that was there already when the client wanted to write it.
    about_to_write: Option<StorePath>,
    _process: Process,
}

impl Relay<'_> {
    async fn serve(&mut self) -> Result<(), Error> {
        self.welcome().await?;
        while !self.client.reader.is_over().await? {
            self.operation().await?;
        }
        Ok(())
    }

    async fn welcome(&mut self) -> Result<(), Error> {
        let Side { reader, writer } = &mut self.client;
        let magic = reader.number().await?;
        if magic != CLIENT_MAGIC {
            return Err(Error::NotADaemon(magic));
        }
        writer.number(DAEMON_MAGIC).number(MAJOR << 8 | MINOR).flush().await?;
        let version = reader.number().await?;
        if version < MAJOR << 8 | MINOR {
            return Err(Error::Version { major: version >> 8, minor: version & 0xff });
        }
        // A processor to be bound to and space to be kept free, which both mean nothing any more.
        if reader.flag().await? {
            reader.number().await?;
        }
        reader.number().await?;
        writer.text(NIX_VERSION).number(LAST).flush().await
    }

    async fn operation(&mut self) -> Result<(), Error> {
        let operation = self.client.reader.number().await?;
        if operation == ADD_TO_STORE {
            return self.add_to_store().await;
        }
        let (request, answer) = shape::of(operation).ok_or(Error::Malformed("an operation that is not known"))?;
        let request = shape::read(&mut self.client.reader, request).await?;
        // What is asked before one is written: first that it may stay, then whether it is there. Who asks for the second only, or wants
        // more of it, is about to read it, which only a store's file allows.
        if let Some(path) = request.first().and_then(Value::as_path)
            && matches!(operation, IS_VALID_PATH | ADD_TEMP_ROOT)
            && self.kept(&path)?.is_some()
        {
            if operation == ADD_TEMP_ROOT {
                self.about_to_write = Some(path);
            } else if self.about_to_write.take().as_ref() != Some(&path) {
                self.store_closure(path).await?;
            }
            return self.client.writer.number(LAST).number(1).flush().await;
        }
        if let Some(path) = request.first().and_then(Value::as_path).filter(|_| operation == ADD_TEMP_ROOT) {
            self.keeper.note_used(&path);
        }
        if operation == BUILD_PATHS {
            self.prepare(&request).await;
        }
        for path in request.iter().flat_map(Value::mentioned) {
            self.store_closure(path).await?;
        }
        self.store.writer.number(operation);
        shape::write(&mut self.store.writer, &request);
        self.store.writer.flush().await?;
        self.pass_answer(answer).await.map(drop)
    }

    /// Lets whoever listens bring what need not be built.
    async fn prepare(&mut self, request: &[Value]) {
        let (Some(wanted), Some(Value::Texts(texts))) = (&self.wanted, request.first()) else { return };
        let derivations: Vec<_> = texts.iter().filter_map(|text| shape::wanted(text)).collect();
        let (ready, is_ready) = oneshot::channel();
        if !derivations.is_empty() && wanted.send(WantedBuilds { derivations, ready }).await.is_ok() {
            // Without a word it is ready as well.
            let _ = is_ready.await;
        }
    }

    async fn add_to_store(&mut self) -> Result<(), Error> {
        const REQUEST: &[Field] = &[Field::Text, Field::Text, Field::Texts, Field::Number];
        let request = shape::read(&mut self.client.reader, REQUEST).await?;
        if let [Value::Text(name), Value::Text(method), Value::Texts(references), _] = request.as_slice()
            && name.ends_with(b".drv")
            && method == b"text:sha256"
        {
            let name = String::from_utf8_lossy(name).into_owned();
            let references = references.iter().map(|path| shape::path(path)).collect::<Option<Vec<_>>>();
            let references = references.ok_or(Error::Malformed("references"))?;
            return self.keep(&name, &references).await;
        }
        self.store.writer.number(ADD_TO_STORE);
        shape::write(&mut self.store.writer, &request);
        self.store.writer.pass_frames(&mut self.client.reader).await?;
        let added = self.pass_answer(&[Field::Text, Field::Info]).await?;
        if let Some(path) = added.first().and_then(Value::as_path) {
            self.keeper.note_used(&path);
        }
        Ok(())
    }

    /// A derivation comes: it stays here.
    async fn keep(&mut self, name: &str, references: &[StorePath]) -> Result<(), Error> {
        let mut aterm = Vec::new();
        loop {
            let bytes = self.client.reader.number().await?;
            let size = bytes.saturating_add(u64::try_from(aterm.len()).unwrap_or(u64::MAX));
            if size > MAX_DERIVATION_BYTES {
                return Err(Error::TooLarge { what: "a derivation", size, limit: MAX_DERIVATION_BYTES });
            }
            if bytes == 0 {
                break;
            }
            self.client.reader.copy(bytes, &mut aterm).await?;
        }
        let address = CAHash::Text(sha256(&aterm)?);
        let path = StoreDir::default().build_ca_path(name, &address, references.iter().map(StorePath::as_inner), false);
        let path = StorePath::from(path.map_err(|_| Error::Malformed("a derivation's name"))?);
        self.keeper.keep(&path, &aterm)?;
        // A derivation that a builder is to read is a source like any other, and those are looked for in the store.
        for source in derivation(&path, &aterm)?.input_sources() {
            self.store_closure(source.clone().into()).await?;
        }
        let info = Info::new(&aterm, references.to_vec())?;
        let writer = &mut self.client.writer;
        writer.number(LAST).text(path.to_absolute());
        info.write(writer);
        writer.flush().await
    }

    fn kept(&self, path: &StorePath) -> Result<Option<Vec<u8>>, Error> {
        if path.is_derivation() { Ok(self.keeper.kept(path)?) } else { Ok(None) }
    }

    /// Brings a derivation and all that it needs into the store: something is to be done with it that only a store can do.
    async fn store_closure(&mut self, root: StorePath) -> Result<(), Error> {
        let mut stack = vec![(root, false)];
        while let Some((path, after_inputs)) = stack.pop() {
            let Some(aterm) = self.kept(&path)? else { continue };
            let references = references(&path, &aterm)?;
            if after_inputs {
                if self.keeper.note_stored(&path) {
                    self.store_one(&path, &aterm, &references).await?;
                }
            } else {
                stack.push((path, true));
                stack.extend(references.into_iter().filter(StorePath::is_derivation).map(|input| (input, false)));
            }
        }
        Ok(())
    }

    async fn store_one(&mut self, path: &StorePath, aterm: &[u8], references: &[StorePath]) -> Result<(), Error> {
        let Side { reader, writer } = &mut self.store;
        writer.number(ADD_TO_STORE).text(path.name()).text("text:sha256");
        writer.texts(references.iter().map(StorePath::to_absolute)).number(0);
        writer.frames(u64::try_from(aterm.len()).unwrap_or(u64::MAX), &mut &*aterm).await?;
        skip_events(reader).await?;
        shape::read(reader, &[Field::Text, Field::Info]).await.map(drop)
    }

    /// Passes on what the store says while it works, and its answer or error, which it gives.
    async fn pass_answer(&mut self, answer: &[Field]) -> Result<Vec<Value>, Error> {
        loop {
            let reader = &mut self.store.reader;
            let kind = reader.number().await?;
            let fields = match kind {
                LAST => answer,
                event::ERROR => &[Field::Text, Field::Number, Field::Text, Field::Text, Field::Number, Field::Traces],
                event::NEXT => &[Field::Text],
                event::START_ACTIVITY => {
                    &[Field::Number, Field::Number, Field::Number, Field::Text, Field::Details, Field::Number] as &[_]
                }
                event::STOP_ACTIVITY => &[Field::Number],
                event::RESULT => &[Field::Number, Field::Number, Field::Details],
                _ => return Err(Error::Malformed("a message")),
            };
            let values = shape::read(reader, fields).await?;
            let is_over = matches!(kind, LAST | event::ERROR);
            if is_over {
                self.end_builds((kind == event::ERROR).then_some(values.as_slice())).await?;
            } else if let Some(watch) = &mut self.watch {
                watch.hear(kind, &values).await;
            }
            let writer = &mut self.client.writer;
            shape::write(writer.number(kind), &values);
            writer.flush().await?;
            if is_over {
                return Ok(values);
            }
        }
    }

    /// Tells how the builders of an operation have ended, before its client goes on. The store does not say of each whether it was
    /// good: in an operation that failed, those were whose outputs are there.
    async fn end_builds(&mut self, error: Option<&[Value]>) -> Result<(), Error> {
        if let (Some(watch), Some([_, _, _, Value::Text(message), ..])) = (&mut self.watch, error) {
            watch.explain(message);
        }
        while let Some(run) = self.watch.as_mut().and_then(Watch::next) {
            let has_outputs = match error {
                None => true,
                Some(_) => self.has_outputs(&run.derivation).await?,
            };
            if let Some(watch) = &self.watch {
                watch.end(run, has_outputs).await;
            }
        }
        Ok(())
    }

    /// Whether the store has all outputs of a derivation that it has.
    async fn has_outputs(&mut self, derivation: &StorePath) -> Result<bool, Error> {
        let outputs: Vec<Vec<u8>> =
            match self.ask_store(QUERY_DERIVATION_OUTPUT_MAP, &derivation.to_absolute(), &[Field::Pairs]).await? {
                Some(answer) => answer.iter().flat_map(Value::texts).skip(1).step_by(2).map(<[u8]>::to_vec).collect(),
                None => Vec::new(),
            };
        for output in &outputs {
            // An output whose path is not known is not there.
            let path = String::from_utf8_lossy(output);
            let answer = if path.is_empty() { None } else { self.ask_store(IS_VALID_PATH, &path, &[Field::Number]).await? };
            if !matches!(answer.as_deref(), Some([Value::Number(1..)])) {
                return Ok(false);
            }
        }
        Ok(!outputs.is_empty())
    }

    /// Asks the store something about a path on our own account; `None` when it refuses to answer.
    async fn ask_store(&mut self, operation: u64, path: &str, answer: &[Field]) -> Result<Option<Vec<Value>>, Error> {
        let Side { reader, writer } = &mut self.store;
        writer.number(operation).text(path).flush().await?;
        match skip_events(reader).await {
            Ok(()) => shape::read(reader, answer).await.map(Some),
            Err(Error::Refused(reason)) => {
                tracing::debug!(reason, path, "the store does not say how a build ended");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// What a derivation refers to: its inputs and its sources.
fn references(path: &StorePath, aterm: &[u8]) -> Result<Vec<StorePath>, Error> {
    let derivation = derivation(path, aterm)?;
    let inputs = derivation.input_derivations().keys().chain(derivation.input_sources());
    let mut references: Vec<StorePath> = inputs.cloned().map(StorePath::from).collect();
    references.sort();
    Ok(references)
}

fn derivation(path: &StorePath, aterm: &[u8]) -> Result<Derivation, Error> {
    let name = path.name().strip_suffix(".drv").unwrap_or(path.name());
    Derivation::from_aterm_bytes(aterm, name).map_err(|_| Error::Malformed("a derivation"))
}
