//! A Nix client with an empty store takes the closure from the cache, checks it and runs it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::{Installation, NixClient, NixInstall, this_system};

/// Substitutes all outputs with `require-sigs`, verifies what came, and runs `hello`.
pub(super) fn run(
    installation: &Installation,
    nix: &NixInstall,
    folder: &Path,
    outputs: &BTreeMap<String, Vec<String>>,
) -> Result<()> {
    let (url, key) = (installation.cache_url(), installation.cache_key()?);
    println!("  substituters = {url}\n  trusted-public-keys = {key}\n  require-sigs = true");
    let client = NixClient::create(nix, folder, &url, &key)?;

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
