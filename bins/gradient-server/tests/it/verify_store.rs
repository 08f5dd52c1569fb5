//! `verify-store` on a store that a real worker filled, while the server runs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use gradient_test_support::deployment::{DeploymentError, Installation, wait};

use crate::trial::{Database, LIMIT, Setting, Trial};

#[test]
fn damage_is_found_and_repaired_on_sqlite() {
    damage_is_found_and_repaired(Database::Sqlite);
}

#[test]
fn damage_is_found_and_repaired_on_postgres() {
    damage_is_found_and_repaired(Database::Postgres);
}

fn narinfo(trial: &mut Trial, hash: &str) -> Result<(u16, String), DeploymentError> {
    let path = format!("/cache/{}/{hash}.narinfo", Installation::CACHE);
    let (status, body) = trial.installation.server().api().get_raw(&path, None)?;
    Ok((status, String::from_utf8(body).expect("a text")))
}

fn narinfo_becomes(trial: &mut Trial, hash: &str, status: u16) -> Result<(), DeploymentError> {
    wait::until("the running server to see it", LIMIT, || Ok((narinfo(trial, hash)?.0 == status).then_some(())))
}

/// The files of a folder with their contents.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn damage_is_found_and_repaired(database: Database) {
    let Some(trial) = Trial::start(&Setting { database, ..Setting::usual() }).unwrap() else { return };
    trial.run(|trial| {
        let evaluation = trial.evaluate("packages", "chain")?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed");
        let store = trial.state().join("store");
        let well = trial.subcommand(&["verify-store"]);
        assert_eq!(well.code, Some(0), "{well:?}");
        assert!(well.output.contains("missing: 0; corrupt: 0"), "{well:?}");

        // The chain's four paths with their files; each refers to all before it.
        let mut chain = BTreeMap::new();
        let mut open: Vec<String> = evaluation.outputs()?.into_values().flatten().collect();
        while let Some(path) = open.pop() {
            let base = path.rsplit('/').next().unwrap().to_owned();
            let hash = base.split('-').next().unwrap().to_owned();
            let (status, text) = narinfo(trial, &hash)?;
            assert_eq!(status, 200, "{base}");
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
            let references = field("References: ");
            let references: Vec<_> = references.split_whitespace().filter(|other| **other != base).map(str::to_owned).collect();
            let nar = store.join(field("URL: "));
            let listing = store.join("ls").join(name(&nar).replace(".nar.zst", ".json.zst"));
            chain.insert(references.len(), (hash, nar, listing));
            open.extend(references);
        }
        let chain: Vec<_> = chain.into_values().collect();
        let [(one, flipped, _), (two, cut, _), (three, removed, _), (four, intact, listing)] = &chain[..] else {
            panic!("not a chain of four: {chain:?}")
        };
        let before = files(&store.join("nar"));
        let listing_before = fs::read(listing).unwrap();

        let mut bytes = before[flipped].clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(flipped, bytes).unwrap();
        fs::write(cut, &before[cut][..before[cut].len() - 5]).unwrap();
        fs::remove_file(removed).unwrap();
        fs::write(listing, "no listing").unwrap();
        let (old, young) = (store.join("nar/old"), store.join("ls/young"));
        for stray in [&old, &young] {
            fs::write(stray, "a stray").unwrap();
        }
        File::options().write(true).open(&old).unwrap().set_modified(SystemTime::now() - Duration::from_hours(25)).unwrap();
        let damaged = files(&store.join("nar"));

        let found = trial.subcommand(&["verify-store"]);
        assert_eq!(found.code, Some(1), "{found:?}");
        for line in [
            format!("corrupt: nar/{}: ", name(flipped)),
            format!("corrupt: nar/{}: ", name(cut)),
            format!("missing: nar/{}\n", name(removed)),
            format!("corrupt: ls/{}: ", name(listing)),
            "without a row: nar/old\n".to_owned(),
            "missing: 1; corrupt: 2; cannot be read: 0; listings missing or wrong: 1; files without a row: 1, and 1 younger"
                .to_owned(),
            "the store has 5 faults".to_owned(),
        ] {
            assert!(found.output.contains(&line), "{line:?} is missing in {}", found.output);
        }
        assert!(!found.output.contains(&name(intact)), "{}", found.output);
        assert_eq!(files(&store.join("nar")), damaged, "looking changes nothing");

        let repaired = trial.subcommand(&["verify-store", "--repair"]);
        assert_eq!(repaired.code, Some(1), "{repaired:?}");
        let aside: Vec<String> = files(&store.join("quarantine/nar")).keys().map(|path| name(path)).collect();
        let mut expected = [name(flipped), name(cut)];
        expected.sort();
        assert_eq!(aside, expected);
        assert!(!old.exists() && young.exists());
        assert_eq!(zstd_contents(listing), zstd_contents_of(&listing_before), "a listing is made anew");
        for hash in [one, two, three] {
            narinfo_becomes(trial, hash, 404)?;
        }
        assert_eq!(narinfo(trial, four)?.0, 200);

        let again = trial.subcommand(&["verify-store"]);
        assert_eq!(again.code, Some(0), "{again:?}");
        assert!(again.output.contains("quarantined before: 3; there again: 0"), "{again:?}");

        // What comes again is had again by those who had it.
        fs::write(removed, &before[removed]).unwrap();
        let restored = trial.subcommand(&["verify-store", "--repair"]);
        assert!(restored.output.contains("quarantined before: 2; there again: 1"), "{restored:?}");
        narinfo_becomes(trial, three, 200)?;
        Ok(())
    });
}

fn zstd_contents(file: &Path) -> Vec<u8> {
    zstd_contents_of(&fs::read(file).unwrap())
}

fn zstd_contents_of(bytes: &[u8]) -> Vec<u8> {
    zstd::decode_all(bytes).unwrap()
}

#[test]
fn where_there_is_no_database_nothing_is_verified() {
    let place = crate::commands::Place::sqlite();
    assert!(place.run(&["verify-store"]).failed(2).contains("GRADIENT_DATABASE_URL"));
    assert!(!place.path().join("state/store").exists());
}
