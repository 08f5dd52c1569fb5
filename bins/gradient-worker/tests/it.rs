//! The program as a person calls it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

fn check(settings: &[(&str, &str)], expected: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_gradient-worker")).env_clear().envs(settings.iter().copied()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with(&format!("gradient-worker: {expected}")) && said.lines().count() == 1, "{said:?}");
}

#[test]
fn a_wrong_setting_is_one_sentence_that_names_it() {
    let server = ("GRADIENT_WORKER_SERVER_URL", "ws://127.0.0.1:9/proto");
    check(&[], "GRADIENT_WORKER_SERVER_URL is needed: expected ");
    check(&[("GRADIENT_WORKER_SERVER_URL", "http://x/proto")], "GRADIENT_WORKER_SERVER_URL begins with http:, expected ws://");
    check(&[server, ("GRADIENT_WORKER_ID", "me")], "GRADIENT_WORKER_ID: invalid value 'me' for '--id <UUID>': ");
    let zero = "GRADIENT_WORKER_MAX_CONCURRENT_BUILDS: invalid value '0' for '--max-concurrent-builds <COUNT>': ";
    check(&[server, ("GRADIENT_WORKER_MAX_CONCURRENT_BUILDS", "0")], zero);
    let signs = ("GRADIENT_WORKER_CAPABILITIES_SIGN", "true");
    check(&[server, signs], "GRADIENT_WORKER_SIGNING_KEY_FILE is needed when ");
    check(
        &[server, signs, ("GRADIENT_WORKER_SIGNING_KEY_FILE", "/nowhere")],
        "GRADIENT_WORKER_SIGNING_KEY_FILE is /nowhere, which cannot be read: ",
    );
    check(&[server, ("GRADIENT_WORKER_BASE_DIR", "/proc/x")], "GRADIENT_WORKER_BASE_DIR is /proc/x, which cannot be made: ");
    let base = std::env::temp_dir().join(format!("gradient-worker-it-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&base).unwrap();
    let base_dir = ("GRADIENT_WORKER_BASE_DIR", base.to_str().unwrap());
    check(&[server, base_dir], "GRADIENT_WORKER_PEERS_FILE is /");
    std::fs::write(base.join("peers"), "nobody").unwrap();
    let peers = base.join("peers").display().to_string();
    check(&[server, base_dir], &format!("GRADIENT_WORKER_PEERS_FILE is {peers}: line 1: expected "));
    std::fs::remove_dir_all(base).unwrap();
}
