//! What must be true after a run, whatever was thrown at it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use gradient_test_support::deployment::{Evaluation, Installation, NixClient, NixInstall, answer};
use serde_json::Value;

use super::plan::Repeats;
use super::site::Site;

/// What became of a run's builds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// How the evaluation ended.
    pub(super) status: String,
    /// How each derivation's build ended.
    pub(super) builds: BTreeMap<String, String>,
    /// How often builds were run again.
    pub(super) repeated: usize,
    /// Store paths that the cache has.
    pub(super) published: u64,
}

impl Ended {
    /// Builds that ended otherwise than in a run without faults.
    pub(super) fn lost(&self, expected: &Self) -> Vec<String> {
        let is_other = |(name, status): &(&String, &String)| self.builds.get(*name) != Some(*status);
        let other = expected.builds.iter().filter(is_other);
        other.map(|(name, status)| format!("{name} is {:?} instead of {status}", self.builds.get(name))).collect()
    }
}

/// Looks at everything while the server runs, and notes what is wrong.
pub(super) fn look(
    site: &Site,
    evaluation: &Evaluation,
    repeats: Repeats,
    strikes: usize,
    wrong: &mut Vec<String>,
) -> Result<Ended> {
    let api = site.installation.api();
    let object = evaluation.get()?;
    let mut ended = Ended { status: answer::field(&object, "status")?.to_owned(), ..Ended::default() };
    let mut outputs = Vec::new();
    for build in evaluation.builds()? {
        let build = api.get(&format!("/builds/{}", answer::field(&build, "id")?))?;
        let (name, status) = (answer::field(&build, "name")?, answer::field(&build, "status")?);
        // The fixed output has the run's nonce in its name.
        let name = if name.starts_with("fixed-") { "fixed" } else { name };
        if ended.builds.insert(name.to_owned(), status.to_owned()).is_some() {
            wrong.push(format!("there are two builds of {name}"));
        }
        let runs = attempts(&build, name, repeats, strikes, wrong)?;
        ended.repeated += runs.saturating_sub(1);
        if status == "Completed" {
            outputs.extend(build.get("outputs").and_then(Value::as_object).into_iter().flatten().map(|(_, path)| path.clone()));
        }
        if runs > 0 {
            let log = api.get(&format!("/builds/{}/log", answer::field(&build, "id")?))?;
            let log = answer::text(&log)?;
            // What an earlier run left finished in the worker's store is not built again, so there is nothing to log.
            let is_found = runs > 1 && log.is_empty();
            if let Err(error) = log_is_whole(name, log)
                && !is_found
            {
                wrong.push(format!("{error:#}"));
            }
        }
    }
    let outputs: Vec<String> = outputs.iter().map(|path| Ok(answer::text(path)?.to_owned())).collect::<Result<_>>()?;
    let statistics = api.get(&format!("/caches/{}/stats", Installation::CACHE))?;
    ended.published = statistics.get("paths").and_then(Value::as_u64).context("no count of paths")?;
    if ended.published != u64::try_from(outputs.len())? {
        wrong.push(format!("the cache has {} paths, and the builds {} outputs", ended.published, outputs.len()));
    }
    if let Err(error) = published(site, &outputs) {
        wrong.push(format!("what was published: {error:#}"));
    }
    Ok(ended)
}

/// A build has one result, all of its attempts have ended, and it ran again only where something was lost. How often it ran: an
/// assignment that never reached the worker is no run.
fn attempts(build: &Value, name: &str, repeats: Repeats, strikes: usize, wrong: &mut Vec<String>) -> Result<usize> {
    let attempts = answer::list(build.get("attempts").unwrap_or(&Value::Null))?;
    let is_set = |attempt: &Value, field: &str| attempt.get(field).is_some_and(|value| !value.is_null());
    if attempts.iter().any(|attempt| !is_set(attempt, "finished_at")) {
        wrong.push(format!("an attempt at {name} has not ended: {attempts:?}"));
    }
    let results = attempts.iter().filter(|attempt| !is_set(attempt, "failure")).count();
    let expected = usize::from(answer::field(build, "status")? == "Completed");
    if results != expected {
        wrong.push(format!("{name} has {results} results instead of {expected}: {attempts:?}"));
    }
    let allowed = match repeats {
        Repeats::None => 1,
        Repeats::OncePerStrike => 1 + strikes,
        Repeats::Any => usize::MAX,
    };
    let runs = attempts.iter().filter(|attempt| is_set(attempt, "started_at")).count();
    if runs > allowed {
        wrong.push(format!("{name} ran {runs} times although nothing was lost: {attempts:?}"));
    }
    Ok(runs)
}

/// A log begins, counts its lines, and ends with how many they were.
fn log_is_whole(name: &str, log: &str) -> Result<()> {
    let lines: Vec<&str> =
        log.lines().filter(|line| ["begin ", "line ", "end "].iter().any(|word| line.starts_with(word))).collect();
    let count = lines.len().saturating_sub(2);
    let mut expected = vec![format!("begin {name}")];
    expected.extend((0..count).map(|number| format!("line {number}")));
    expected.push(format!("end {name} after {count}"));
    if lines != expected {
        bail!("the log of {name} is not whole: {log:?}");
    }
    Ok(())
}

/// A client with an empty store takes everything, and finds it signed, whole, and of one run.
fn published(site: &Site, outputs: &[String]) -> Result<()> {
    let (url, key) = (site.installation.cache_url(), site.installation.cache_key()?);
    let client = NixClient::create(&NixInstall::of_the_system(), &site.folder().join("client"), &url, &key)?;
    client.substitute(outputs)?;
    client.verify_contents()?;
    client.verify_signatures(outputs)?;
    let mut stamps: BTreeMap<&str, String> = BTreeMap::new();
    for output in outputs {
        let place = client.real_path(output);
        if let Ok(stamp) = fs::read_to_string(place.join("stamp")) {
            if fs::read_to_string(site.built(output).join("stamp"))? != stamp {
                bail!("{output} is not what was built");
            }
            stamps.insert(output, stamp);
        }
    }
    let mut of_builds: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
    for (output, stamp) in &stamps {
        // /nix/store/<32 characters>-multi-0-dev is of the build multi-0.
        let name = output.get(44..).unwrap_or_default();
        let build = name.strip_suffix("-dev").or_else(|| name.strip_suffix("-doc")).unwrap_or(name);
        of_builds.entry(build).or_default().insert(stamp);
        for input in fs::read_dir(client.real_path(output).join("inputs"))? {
            let input = input?;
            let path = format!("/nix/store/{}", input.file_name().display());
            if stamps.get(path.as_str()) != Some(&fs::read_to_string(input.path())?) {
                bail!("{output} was built with another {path} than the one that was published");
            }
        }
    }
    match of_builds.iter().find(|(_, stamps)| stamps.len() != 1) {
        Some((build, _)) => bail!("the outputs of {build} are of different runs"),
        None => Ok(()),
    }
}

/// What the ended programs left in their folders that nothing refers to.
pub(super) fn leftovers(site: &mut Site, wrong: &mut Vec<String>) -> Result<()> {
    for folder in ["server/state/store/staging", "server/state/store/partial", "worker/state/scratch"] {
        let left = fs::read_dir(site.folder().join(folder)).into_iter().flatten().count();
        if left > 0 {
            wrong.push(format!("{left} files are left in {folder}"));
        }
    }
    let verified = site.subcommand(&["verify-store"])?.output().context("verifying the store")?;
    let said = String::from_utf8_lossy(&verified.stdout);
    if !verified.status.success() || !said.contains("files without a row: 0, and 0 younger") {
        wrong.push(format!("verify-store: {}{}", said.trim(), String::from_utf8_lossy(&verified.stderr).trim()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_whole_or_not() {
        let check = |log: &str| log_is_whole("x", log).is_ok();
        assert!(check("begin x\nline 0\nline 1\nend x after 2\n"));
        assert!(check("begin x\nend x after 0\nnix: something else\n"));
        assert!(!check("begin x\nline 0\nline 0\nend x after 2\n"));
        assert!(!check("begin x\nline 1\nend x after 2\n"));
        assert!(!check("begin x\nline 0\n"));
        assert!(!check(""));
    }

    #[test]
    fn what_ended_otherwise_is_lost() {
        let ended = |status: &str| Ended { builds: BTreeMap::from([("a".into(), status.into())]), ..Ended::default() };
        assert!(ended("Completed").lost(&ended("Completed")).is_empty());
        assert_eq!(ended("Failed").lost(&ended("Completed")).len(), 1);
        assert_eq!(Ended::default().lost(&ended("Completed")).len(), 1);
    }
}
