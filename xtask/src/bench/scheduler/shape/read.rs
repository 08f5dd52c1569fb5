//! Graphs from files: JSON, compressed with zstd when the name ends so.
//!
//! `{"nodes": [[name, system, [features], output count, [indices of its inputs], flags], …]}`, in any order, without cycles; flag 1
//! says that an output's hash is known before. Everything else in the file is not looked at.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Build, Need, Shape};

const FIXED_OUTPUT: u64 = 1;

impl Shape {
    /// The graph of a file.
    pub(in crate::bench) fn read(path: &Path) -> Result<Self> {
        let file = BufReader::new(File::open(path).with_context(|| format!("opening {}", path.display()))?);
        let value: Value = if path.extension().is_some_and(|extension| extension == "zst") {
            serde_json::from_reader(zstd::Decoder::with_buffer(file)?)?
        } else {
            serde_json::from_reader(file)?
        };
        let nodes = value["nodes"].as_array().context("no `nodes` in the graph")?;
        let mut needs = Vec::new();
        let mut builds = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            builds.push(build(node, &mut needs).with_context(|| format!("reading node {at}"))?);
        }
        Ok(Self::new(sorted(&builds)?, needs))
    }
}

fn build(node: &Value, needs: &mut Vec<Need>) -> Result<Build> {
    let text = |at: usize| node[at].as_str().map(str::to_owned).context("not a text");
    let array = |at: usize| node[at].as_array().context("not a list");
    let features = array(2)?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let need = Need { system: text(1)?, features };
    let known = needs.iter().position(|known| *known == need).unwrap_or_else(|| {
        needs.push(need);
        needs.len() - 1
    });
    let input = |value: &Value| Ok(u32::try_from(value.as_u64().context("not an index")?)?);
    Ok(Build {
        name: text(0)?,
        need: known,
        fixed_output: node[5].as_u64().unwrap_or(0) & FIXED_OUTPUT != 0,
        dependencies: array(4)?.iter().map(input).collect::<Result<_>>()?,
    })
}

/// The same builds, dependencies first.
fn sorted(builds: &[Build]) -> Result<Vec<Build>> {
    let mut dependents = vec![Vec::new(); builds.len()];
    let mut missing = vec![0; builds.len()];
    for (at, build) in builds.iter().enumerate() {
        missing[at] = build.dependencies.len();
        for &dependency in &build.dependencies {
            ensure!((dependency as usize) < builds.len(), "`{}` needs node {dependency}, which is not there", build.name);
            dependents[dependency as usize].push(at);
        }
    }
    let mut open: Vec<usize> = (0..builds.len()).rev().filter(|&at| missing[at] == 0).collect();
    let mut place = vec![0; builds.len()];
    let mut sorted = Vec::with_capacity(builds.len());
    while let Some(at) = open.pop() {
        place[at] = u32::try_from(sorted.len())?;
        let mut build = builds[at].clone();
        for dependency in &mut build.dependencies {
            *dependency = place[*dependency as usize];
        }
        sorted.push(build);
        for &dependent in &dependents[at] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                open.push(dependent);
            }
        }
    }
    if sorted.len() < builds.len() {
        bail!("the graph has a cycle");
    }
    Ok(sorted)
}
