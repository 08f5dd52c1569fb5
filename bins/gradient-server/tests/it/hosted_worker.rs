//! One process is a whole CI.

use gradient_test_support::deployment::{CacheVisibility, FlakeRepository, Installation, NixInstall, this_system};

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
