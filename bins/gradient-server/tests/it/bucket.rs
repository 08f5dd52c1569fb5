//! A server whose NARs and logs are in the bucket of an S3-compatible server, and real Nix.

use std::fs;
use std::path::Path;

use gradient_test_support::deployment::{CacheVisibility, Installation, NixInstall, S3Server, S3ServerSettings};
use serde_json::json;

use crate::trial::{LIMIT, Outcome, Setting, Trial};

/// The server's settings.
fn environment(bucket: &S3Server, folder: &Path, presign: bool) -> Vec<(&'static str, String)> {
    let secret = folder.join("secret");
    fs::write(&secret, format!("{}\n", S3Server::SECRET_KEY)).unwrap();
    vec![
        ("GRADIENT_S3_BUCKET", S3Server::BUCKET.into()),
        ("GRADIENT_S3_ENDPOINT", bucket.endpoint()),
        ("GRADIENT_S3_PREFIX", "ci".into()),
        ("GRADIENT_S3_ACCESS_KEY_ID", S3Server::ACCESS_KEY.into()),
        ("GRADIENT_S3_SECRET_ACCESS_KEY_FILE", secret.display().to_string()),
        ("GRADIENT_S3_PRESIGN", presign.to_string()),
        ("GRADIENT_LOG", "trace".into()),
    ]
}

fn with_bucket(presign: bool, body: impl FnOnce(&mut Trial, &S3Server) -> Outcome) {
    let folder = tempfile::tempdir().unwrap();
    let Some(bucket) = S3Server::start(folder.path(), S3ServerSettings::default()).unwrap() else { return };
    let environment = environment(&bucket, folder.path(), presign);
    let setting = Setting { cache: CacheVisibility::Private, environment, ..Setting::usual() };
    let trial = Trial::start(&setting).unwrap().unwrap();
    trial.run(|trial| {
        body(trial, &bucket)?;
        let log = fs::read_to_string(trial.installation.server().process().log()).unwrap();
        assert!(!log.contains("X-Amz-Signature") && !log.contains(S3Server::SECRET_KEY), "a secret is in the log");
        Ok(())
    });
}

/// Builds, and lets every Nix of this machine substitute all of it.
fn build_and_substitute(trial: &mut Trial, bucket: &S3Server) -> Outcome {
    let evaluation = trial.evaluate("packages", "hello")?;
    assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed");
    let paths: Vec<String> = evaluation.outputs()?.into_values().flatten().collect();
    for kind in ["nar", "ls", "log"] {
        assert!(fs::read_dir(bucket.object(&format!("ci/{kind}"))).unwrap().count() > 0, "{kind}");
    }
    assert!(bucket.incomplete_uploads()?.is_empty());

    let key = json!({"name": "reader", "permissions": ["readStore"]});
    let key = trial.installation.api().post("/user/keys", &key)?;
    for (name, nix) in [("system", Some(NixInstall::of_the_system())), ("newer", NixInstall::newer())] {
        let Some(nix) = nix else { continue };
        let client = trial.client_with(&nix, name, &trial.installation.cache_key()?)?;
        client.log_in("127.0.0.1", "anybody", key.as_str().expect("a key"))?;
        client.substitute(&paths)?;
        client.verify_contents()?;
        client.verify_signatures(&paths)?;
    }
    Ok(())
}

#[test]
fn what_is_built_is_served_out_of_a_bucket() {
    with_bucket(false, |trial, bucket| {
        build_and_substitute(trial, bucket)?;
        // What is stored outlives the process, and the log of the build is there too.
        trial.installation.restart_server()?;
        let info = format!("/cache/{}/nix-cache-info", Installation::CACHE);
        assert_eq!(trial.installation.server().api().get_raw(&info, None)?.0, 401);
        Ok(())
    });
}

#[test]
fn nix_fetches_out_of_the_bucket_itself() {
    with_bucket(true, build_and_substitute);
}

#[test]
fn damage_in_a_bucket_is_found_and_put_aside() {
    with_bucket(false, |trial, bucket| {
        let evaluation = trial.evaluate("packages", "chain")?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed");
        let well = trial.subcommand(&["verify-store"]);
        assert_eq!(well.code, Some(0), "{well:?}");
        assert!(well.output.contains("missing: 0; corrupt: 0"), "{well:?}");

        let mut nars: Vec<_> = fs::read_dir(bucket.object("ci/nar")).unwrap().map(|entry| entry.unwrap().path()).collect();
        nars.sort();
        let [flipped, removed, intact, ..] = &nars[..] else { panic!("not three: {nars:?}") };
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut bytes = fs::read(flipped).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(flipped, &bytes).unwrap();
        let kept = fs::read(removed).unwrap();
        fs::remove_file(removed).unwrap();

        let found = trial.subcommand(&["verify-store"]);
        assert_eq!(found.code, Some(1), "{found:?}");
        assert!(found.output.contains(&format!("corrupt: nar/{}: ", name(flipped))), "{found:?}");
        assert!(found.output.contains(&format!("missing: nar/{}\n", name(removed))), "{found:?}");
        assert!(!found.output.contains(&name(intact)), "{found:?}");
        assert_eq!(fs::read(flipped).unwrap(), bytes, "looking changes nothing");

        let repaired = trial.subcommand(&["verify-store", "--repair"]);
        assert_eq!(repaired.code, Some(1), "{repaired:?}");
        let aside = bucket.object(&format!("ci/quarantine/nar/{}", name(flipped)));
        assert_eq!(fs::read(aside).unwrap(), bytes);
        assert!(!flipped.exists());

        fs::write(removed, kept).unwrap();
        let again = trial.subcommand(&["verify-store", "--repair"]);
        assert_eq!(again.code, Some(0), "{again:?}");
        assert!(again.output.contains("quarantined before: 1; there again: 1"), "{again:?}");
        Ok(())
    });
}
