//! `cargo xtask bench cache`: the binary cache beside nginx with the same files.

mod nginx;
mod report;
mod server;
mod wrk;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gradient_test_support::deployment::{CacheVisibility, Installation, answer};
use serde_json::json;

use super::proc;
use super::store_paths::{Sizes, StorePaths};
use crate::prerequisites::{self, NGINX, NIX, WRK};
use crate::{interrupt, workspace};
use nginx::{Nginx, OpenFiles};
use server::Server;
use wrk::{Load, Measured};

/// What `cargo xtask bench cache` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    sizes: Sizes,
    /// How many connections ask for narinfos and small NARs at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    connections: usize,
    /// How long one round lasts.
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    seconds: u64,
    /// How often each server gets its turn with each kind of request.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    rounds: usize,
    /// Measure a further server too, which has the same paths: it is asked under this URL (without TLS).
    #[arg(long, value_name = "NAME=URL", value_parser = named)]
    also: Vec<(String, String)>,
    /// Make the store paths below this empty folder, and keep them there, for a further server to be filled with.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Measure this gradient-server instead of building one.
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Print the figures that matter as JSON, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

fn named(text: &str) -> Result<(String, String), &'static str> {
    text.split_once('=').map(|(name, url)| (name.to_owned(), url.to_owned())).ok_or("a name, `=` and a URL")
}

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    NarinfoHit,
    NarinfoMiss,
    SmallNar,
    /// The same on one connection: how long somebody waits who is alone.
    SmallNarAlone,
    LargeNar,
}

impl Kind {
    const ALL: [Self; 5] = [Self::NarinfoHit, Self::NarinfoMiss, Self::SmallNar, Self::SmallNarAlone, Self::LargeNar];

    const fn name(self) -> &'static str {
        match self {
            Self::NarinfoHit => "narinfo, there",
            Self::NarinfoMiss => "narinfo, not there",
            Self::SmallNar => "NAR of 20 KiB",
            Self::SmallNarAlone => "the same, one connection",
            Self::LargeNar => "NAR of 50 MiB",
        }
    }

    fn load(self, options: &Options) -> Load {
        let connections = match self {
            Self::SmallNarAlone => 1,
            Self::LargeNar => 4,
            _ => options.connections,
        };
        Load { connections, seconds: options.seconds, refused: self == Self::NarinfoMiss }
    }
}

/// What was measured: of each kind, each server.
struct Results {
    servers: Vec<String>,
    kinds: Vec<(Kind, Vec<Measured>)>,
    /// Of the server's process, in bytes.
    peak_rss: u64,
}

/// Who is compared with whom.
const GRADIENT: usize = 0;
const NGINX_AT: usize = 2;

const PRIVATE_CACHE: &str = "acme-private";

pub(super) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    prerequisites::ensure(&[&NIX, &NGINX, &WRK])?;
    let programs = workspace::release_programs(options.server.as_deref())?;
    let folder = tempfile::Builder::new().prefix("gradient-bench-").tempdir()?;
    eprintln!("making store paths of what this machine has");
    let paths = StorePaths::create(options.keep.as_deref().unwrap_or_else(|| folder.path()), options.sizes)?;
    eprintln!("{} store paths, {} MiB", paths.len(), paths.bytes >> 20);
    let mut installation = Installation::start(&programs, folder.path(), None)?;
    let results = measure(&mut installation, &paths, folder.path(), options);
    if results.is_err() {
        eprintln!("{}", installation.log_tails());
    }
    let results = results?;
    eprintln!("{}", report::tables(&results, options));
    if options.json {
        println!("{}", report::json(&results));
    }
    Ok(installation.stop()?)
}

fn measure(installation: &mut Installation, paths: &StorePaths, folder: &Path, options: &Options) -> Result<Results> {
    let key = set_up(installation)?;
    paths.log_in("127.0.0.1", &key)?;
    for cache in [Installation::CACHE, PRIVATE_CACHE] {
        let took = paths.copy_to(&format!("{}?compression=zstd", installation.server().cache_url(cache)))?;
        eprintln!("copied all to the cache {cache} within {:.1} s", took.as_secs_f64());
        interrupt::check()?;
    }
    // What it needed for that is not what it needs for serving.
    installation.restart_server()?;
    let basic = format!("Basic {}", STANDARD.encode(format!("bench:{key}")));
    let public = Server::at("gradient", &installation.cache_url(), None)?;
    let private = Server::at("gradient, private", &installation.server().cache_url(PRIVATE_CACHE), Some(basic))?;
    let files = folder.join("files");
    nginx::copy_files(&public, &paths.hashes(""), &files)?;
    let stock = Nginx::start(&files, &folder.join("nginx"), OpenFiles::Closed)?;
    let caching = Nginx::start(&files, &folder.join("nginx-caching"), OpenFiles::Cached)?;
    let mut servers = vec![public, private, stock.server("nginx")?, caching.server("nginx, open_file_cache")?];
    for (name, url) in &options.also {
        servers.push(Server::at(name, url, None)?);
    }
    let process = installation.server().process().id();

    let mut kinds = Vec::new();
    for kind in Kind::ALL {
        let asked = servers.iter().map(|server| requests(kind, server, paths)).collect::<Result<Vec<_>>>()?;
        let mut measured = vec![Measured::default(); servers.len()];
        for round in 0..options.rounds {
            eprintln!("{}: round {} of {}", kind.name(), round + 1, options.rounds);
            for ((server, asked), measured) in servers.iter().zip(&asked).zip(&mut measured) {
                interrupt::check()?;
                measured.add(wrk::measure(server, asked, kind.load(options), folder)?);
            }
        }
        kinds.push((kind, measured));
    }
    stock.stop()?;
    caching.stop()?;
    let names = servers.iter().map(|server| server.name().to_owned()).collect();
    Ok(Results { servers: names, kinds, peak_rss: proc::peak_rss(process)? })
}

/// A user with a public and a private cache; the key to both.
fn set_up(installation: &mut Installation) -> Result<String> {
    installation.register_user()?;
    installation.create_organization(CacheVisibility::Public)?;
    let private = json!({"name": PRIVATE_CACHE, "display_name": "Private", "public": false});
    installation.api().put("/caches", &private)?;
    let key = json!({"name": "bench", "permissions": ["readStore", "writeStore"]});
    Ok(answer::text(&installation.api().post("/user/keys", &key)?)?.to_owned())
}

/// What is asked of a server, from its URL on.
fn requests(kind: Kind, server: &Server, paths: &StorePaths) -> Result<Vec<String>> {
    let narinfos = |hashes: Vec<String>| hashes.into_iter().map(|hash| format!("/{hash}.narinfo")).collect();
    let nars = |name: &str| {
        let mut connection = server.connect()?;
        let hashes = paths.hashes(name);
        let found = hashes.iter().map(|hash| server.narinfo(&mut connection, hash).map(|narinfo| narinfo.nar));
        found.collect::<Result<Vec<_>>>().with_context(|| format!("{} does not have all paths", server.name()))
    };
    match kind {
        Kind::NarinfoHit => Ok(narinfos(paths.hashes(""))),
        // The same hashes from the other end: as long, and nobody's.
        Kind::NarinfoMiss => Ok(narinfos(paths.hashes("").iter().map(|hash| hash.chars().rev().collect()).collect())),
        Kind::SmallNar | Kind::SmallNarAlone => nars("small-"),
        Kind::LargeNar => nars("large-"),
    }
}
