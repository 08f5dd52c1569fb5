//! A Nix client with an empty store takes the closure from the cache, checks it and runs it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::{NixClient, NixInstall, this_system};

use super::installation::{CACHE, Installation, text};

/// Substitutes all outputs with `require-sigs`, verifies what came, and runs `hello`.
pub(super) fn run(
    installation: &Installation,
    nix: &NixInstall,
    folder: &Path,
    outputs: &BTreeMap<String, Vec<String>>,
) -> Result<()> {
    let key = installation.api().get(&format!("/caches/{CACHE}/key"))?;
    let key = text(&key)?;
    println!("  substituters = {}\n  trusted-public-keys = {key}\n  require-sigs = true", installation.cache_url());
    let client = NixClient::create(nix, folder, &installation.cache_url(), key)?;

    let paths: Vec<String> = outputs.values().flatten().cloned().collect();
    client.substitute(&paths)?;
    let closure = client.closure(&paths)?;
    println!("  {} store paths for {} packages:", closure.len(), outputs.len());
    for path in &closure {
        println!("    {path}");
    }
    client.verify_contents()?;
    client.verify_signatures(&paths)?;
    println!("  contents and signatures verified");

    let hello = outputs.get(&format!("packages.{}.hello", this_system())).and_then(|paths| paths.first());
    let program = format!("{}/bin/hello", hello.context("the flake has a package hello")?);
    let said = client.execute(&program)?;
    println!("  $ {program}\n  {}", said.trim_end());
    if !said.starts_with("hello from ") {
        bail!("hello said something else");
    }
    Ok(())
}
