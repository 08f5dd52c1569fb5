//! The binary cache, as those see it who may not read it.

use gradient_test_support::deployment::{CacheVisibility, Installation};
use serde_json::json;

use crate::trial::{LIMIT, Setting, Trial};

#[test]
fn a_private_cache_wants_credentials() {
    let setting = Setting { cache: CacheVisibility::Private, ..Setting::usual() };
    let trial = Trial::start(&setting).unwrap().unwrap();
    trial.run(|trial| {
        let evaluation = trial.evaluate("packages", "diamond")?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed");
        let paths: Vec<String> = evaluation.outputs()?.into_values().flatten().collect();

        let key = json!({"name": "reader", "permissions": ["viewOrg", "viewCache", "readStore"]});
        let key = trial.installation.api().post("/user/keys", &key)?;
        let key = key.as_str().expect("a key").to_owned();
        let info = format!("/cache/{}/nix-cache-info", Installation::CACHE);
        let anonymous = trial.installation.server().api();
        assert_eq!(anonymous.get_raw(&info, None)?.0, 401);
        assert_eq!(anonymous.get_raw(&info, Some(("anybody", "wrong")))?.0, 401);
        let (status, body) = anonymous.get_raw(&info, Some(("anybody", &key)))?;
        assert_eq!(status, 200);
        assert!(String::from_utf8_lossy(&body).contains("StoreDir: /nix/store"));

        let client = trial.client("client", &trial.installation.cache_key()?)?;
        assert!(client.substitute(&paths).is_err(), "a private cache gives nothing to strangers");
        let client = trial.client("member", &trial.installation.cache_key()?)?;
        client.log_in("127.0.0.1", "anybody", &key)?;
        client.substitute(&paths)?;
        client.verify_signatures(&paths)
    });
}

#[test]
fn what_is_unknown_is_absent() {
    let trial = Trial::without_worker(&Setting::usual()).unwrap().unwrap();
    trial.run(|trial| {
        let anonymous = trial.installation.server().api();
        let cache = format!("/cache/{}", Installation::CACHE);
        let hash = "0000000000000000000000000000000a";
        for path in
            [format!("{cache}/{hash}.narinfo"), format!("{cache}/nar/{hash}.nar.zst"), "/cache/nobody/nix-cache-info".into()]
        {
            assert_eq!(anonymous.get_raw(&path, None)?.0, 404, "{path}");
        }
        Ok(())
    });
}

#[test]
fn what_was_asked_outlives_a_restart() {
    let trial = Trial::without_worker(&Setting::usual()).unwrap().unwrap();
    trial.run(|trial| {
        let narinfo = format!("/cache/{}/0000000000000000000000000000000a.narinfo", Installation::CACHE);
        let statistics = format!("/caches/{}/stats", Installation::CACHE);
        for _ in 0..3 {
            assert_eq!(trial.installation.server().api().get_raw(&narinfo, None)?.0, 404);
        }
        trial.installation.restart_server()?;
        assert_eq!(trial.installation.api().get(&statistics)?["misses"], json!(3));
        Ok(())
    });
}
