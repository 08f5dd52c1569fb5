//! `cargo xtask bench overhead`: derivations that cost nothing to build, through server and worker into the cache, beside the same
//! with `nix-build` and `nix copy`.

mod gradient;
mod nix;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use gradient_test_support::deployment::Programs;
use serde_json::json;

use super::database::Database;
use super::figures::{median, number};
use crate::prerequisites::{self, GIT, NIX, POSTGRES};
use crate::{interrupt, workspace};

/// What `cargo xtask bench overhead` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many derivations there are beside each other.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    wide: usize,
    /// How many there are in a chain.
    #[arg(long, value_name = "COUNT", default_value_t = 300)]
    chain: usize,
    /// How often each is done, in turn.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    rounds: usize,
    /// Only on this database.
    #[arg(long)]
    database: Option<Database>,
    /// Measure this gradient-server instead of building one; `gradient-worker` is beside it.
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Print the ratios as JSON, the larger one of both databases, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

/// How the derivations depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Wide,
    Chain,
}

/// The derivations of one round, which no store has seen.
#[derive(Debug)]
struct Packages {
    shape: Shape,
    count: usize,
    nonce: String,
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Chain => "chain",
        }
    }
}

impl Packages {
    /// The expression that makes them.
    const EXPRESSION: &str = include_str!("overhead/packages.nix");

    fn new(shape: Shape, options: &Options) -> Self {
        let count = match shape {
            Shape::Wide => options.wide,
            Shape::Chain => options.chain,
        };
        Self { shape, count, nonce: uuid::Uuid::new_v4().simple().to_string() }
    }
}

pub(super) fn run(options: &Options) -> Result<()> {
    interrupt::watch()?;
    prerequisites::ensure(&[&GIT, &NIX, &POSTGRES])?;
    prerequisites::ensure_store_is_writable()?;
    let programs = workspace::release_programs(options.server.as_deref())?;
    let mut ratios: Vec<(Shape, f64)> = Vec::new();
    for database in Database::chosen(options.database) {
        for shape in [Shape::Wide, Shape::Chain] {
            let ratio = compare(&programs, database, shape, options);
            ratios.push((shape, ratio.with_context(|| format!("{} on {}", shape.name(), database.name()))?));
        }
    }
    if options.json {
        let worst = |shape| ratios.iter().filter(|(of, _)| *of == shape).map(|(_, ratio)| *ratio).fold(0.0, f64::max);
        println!("{}", json!({"wide_ratio": worst(Shape::Wide), "chain_ratio": worst(Shape::Chain)}));
    }
    Ok(())
}

/// How much longer it takes with Gradient than with Nix alone: the median of the rounds' ratios.
fn compare(programs: &Programs, database: Database, shape: Shape, options: &Options) -> Result<f64> {
    let (mut ratios, mut ours, mut whole, mut theirs, mut copying) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds {
        interrupt::check()?;
        let folder = tempfile::Builder::new().prefix("gradient-bench-").tempdir()?;
        let (with_nix, with_gradient) = (Packages::new(shape, options), Packages::new(shape, options));
        // Whoever is first may find the machine in another state.
        let nix = |packages| nix::build_and_copy(packages, &folder.path().join("nix"));
        let gradient = |packages| gradient::build(programs, database, packages, &folder.path().join("gradient"));
        let (plain, built) = if round % 2 == 0 {
            let plain = nix(&with_nix)?;
            (plain, gradient(&with_gradient)?)
        } else {
            let built = gradient(&with_gradient)?;
            (nix(&with_nix)?, built)
        };
        let theirs_now = plain.building + plain.copying;
        eprintln!("{} {}, round {}: {plain:?}, {built:?}", database.name(), shape.name(), round + 1);
        ratios.push(built.publishing.as_secs_f64() / theirs_now.as_secs_f64());
        ours.push(built.publishing);
        whole.push(built.whole);
        theirs.push(theirs_now);
        copying.push(plain.copying);
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios.get(ratios.len() / 2).copied().context("no round")?;
    let count = match shape {
        Shape::Wide => options.wide,
        Shape::Chain => options.chain,
    };
    let (ours, whole, theirs, copying) = (median(ours), median(whole), median(theirs), median(copying));
    let each = ours.as_secs_f64() * 1e3 / number(u64::try_from(count)?);
    eprintln!(
        "{:<8} {:<5} {count:>5} builds: {:>6.2} s, {each:.1} ms each, {:.2} s from the trigger on; nix-build and nix copy {:.2} s, of which nix copy {:.2} s; ratio {ratio:.2}",
        database.name(),
        shape.name(),
        seconds(ours),
        seconds(whole),
        seconds(theirs),
        seconds(copying),
    );
    Ok(ratio)
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Makes a folder with the expression.
fn write_expression(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    Ok(std::fs::write(folder.join("packages.nix"), Packages::EXPRESSION)?)
}
