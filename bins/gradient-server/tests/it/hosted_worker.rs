//! One process is a whole CI.

use std::process::{Command, Stdio};

use gradient_test_support::deployment::{CacheVisibility, FlakeRepository, Installation, NixInstall, Process, this_system};

use crate::trial::{LIMIT, programs};

#[test]
fn a_server_with_its_own_worker_builds() {
    let folder = tempfile::Builder::new().prefix("gradient-hosted-").tempdir().unwrap();
    let repository = FlakeRepository::create(&folder.path().join("repository")).unwrap();
    let mut installation =
        Installation::start_with_hosted_worker(&programs(), folder.path(), &NixInstall::of_the_system()).unwrap();
    installation.register_user().unwrap();
    installation.create_organization(CacheVisibility::Public).unwrap();
    installation.register_hosted_worker().unwrap();

    let wildcard = format!("packages.{}.diamond", this_system());
    installation.create_project("examples", &repository.url(), &wildcard).unwrap();
    let evaluation = installation.evaluate("examples").unwrap();
    let status = evaluation.wait_for_end(LIMIT).unwrap();
    assert_eq!(status, "Completed", "{}", installation.log_tails());
    installation.stop().unwrap();
}

#[test]
fn a_server_whose_worker_cannot_work_says_so_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(programs().server);
    command.arg("--with-worker").env_clear().env("PATH", "/usr/bin:/bin").current_dir(folder.path()).stdin(Stdio::null());
    command.env("GRADIENT_BASE_DIR", folder.path()).env("GRADIENT_PORT", "0").env("GRADIENT_WORKER_NIX_DIR", "/nonexistent");
    let mut server = Process::spawn("a server whose worker has no Nix", &mut command, &folder.path().join("log")).unwrap();
    let status = server.wait(LIMIT).unwrap();
    let log = server.log_tail();
    assert!(!status.success(), "{log}");
    assert!(log.contains("the worker in this process cannot work") && log.contains("/nonexistent"), "{log}");
}
