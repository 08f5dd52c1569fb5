//! Repositories that are reached with an organization's SSH key, at a real SSH server.

use std::{net::TcpListener, path::Path, process::Command};

use futures_util::{StreamExt, stream::FuturesUnordered};
use gradient_test_support::ssh::SshServer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Client;
use crate::server::Server;

gradient_test_support::both_databases!(
    a_repository_is_reached_with_the_organizations_key,
    a_host_key_is_remembered_and_a_changed_one_refused,
    an_ssh_server_in_a_private_network_is_not_asked,
    a_host_that_does_not_answer_delays_its_own_organization_only,
);

/// A repository with one commit, whose hash it has.
fn repository() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=A. U. Thor", "-c", "user.email=author@example.org"]).args(arguments);
        let output = command.current_dir(folder.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet", "--initial-branch=main", "."]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "a secret plan"]);
    let hash = git(&["rev-parse", "HEAD"]);
    (folder, hash)
}

/// A project of the repository, in an organization of its own.
async fn project(alice: Client<'_>, organization: &str, ssh: &SshServer, repository: &Path) {
    alice.organization(organization, false).await;
    let url = ssh.url(repository).unwrap();
    let body = json!({"name": "web", "display_name": "web", "repository": url, "wildcard": "packages.*"});
    alice.put(&format!("/projects/{organization}"), body).await.message();
}

async fn key(alice: Client<'_>, organization: &str) -> String {
    alice.get(&format!("/orgs/{organization}/ssh")).await.message().as_str().unwrap().to_owned()
}

async fn check(alice: Client<'_>, organization: &str) -> super::Answer {
    alice.post(&format!("/projects/{organization}/web/check-repository"), json!({})).await
}

async fn a_repository_is_reached_with_the_organizations_key(database: &str) {
    let server = Server::with_local_network(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    let (ssh, (folder, hash)) = (SshServer::start().unwrap(), repository());
    project(alice, "acme", &ssh, folder.path()).await;

    let stranger = check(alice, "acme").await;
    assert_eq!(stranger.error(), (400, "repository_unreachable"));
    assert!(stranger.sentence().contains("Permission denied"), "{stranger:?}");

    let old = key(alice, "acme").await;
    ssh.authorize(&[&old]).unwrap();
    let found = check(alice, "acme").await.message();
    assert_eq!((&found["hash"], &found["message"], &found["branch"]), (&json!(hash), &json!("a secret plan"), &json!("main")));

    // Another organization's key opens nothing.
    project(alice, "other", &ssh, folder.path()).await;
    assert_eq!(check(alice, "other").await.error(), (400, "repository_unreachable"));

    // A renewed key is the only one that is used, from that moment on.
    let new = alice.post("/orgs/acme/ssh", Value::Null).await.message().as_str().unwrap().to_owned();
    assert_ne!(new, old);
    assert_eq!(key(alice, "acme").await, new);
    let refused = check(alice, "acme").await;
    assert!(refused.sentence().contains("Permission denied"), "{refused:?}");
    ssh.authorize(&[&new]).unwrap();
    assert_eq!(check(alice, "acme").await.message()["hash"], json!(hash));
    let evaluation = alice.post("/projects/acme/web/evaluate", json!({})).await.message();
    let evaluation = alice.get(&format!("/evals/{}", evaluation.as_str().unwrap())).await.message();
    assert!(evaluation["project"].is_string(), "{evaluation}");
}

async fn a_host_key_is_remembered_and_a_changed_one_refused(database: &str) {
    let server = Server::with_local_network(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    let (mut ssh, (folder, hash)) = (SshServer::start().unwrap(), repository());
    project(alice, "acme", &ssh, folder.path()).await;
    let old = key(alice, "acme").await;
    ssh.authorize(&[&old]).unwrap();
    check(alice, "acme").await.message();

    ssh.change_host_key().unwrap();
    for _ in 0..2 {
        let refused = check(alice, "acme").await;
        assert_eq!(refused.error(), (400, "repository_unreachable"));
        assert!(refused.sentence().contains("is not the one that it showed first"), "{refused:?}");
    }
    // Whoever has not met it takes it for what it says.
    project(alice, "other", &ssh, folder.path()).await;
    let other = key(alice, "other").await;
    ssh.authorize(&[&old, &other]).unwrap();
    check(alice, "other").await.message();

    // The way out that the refusal names.
    let new = alice.post("/orgs/acme/ssh", Value::Null).await.message().as_str().unwrap().to_owned();
    ssh.authorize(&[&new]).unwrap();
    assert_eq!(check(alice, "acme").await.message()["hash"], json!(hash));
}

async fn an_ssh_server_in_a_private_network_is_not_asked(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    alice.organization("acme", false).await;
    for (name, url) in [
        ("loopback", "ssh://git@127.0.0.1:1/x"),
        ("named", "git@localhost:x/y"),
        ("mapped", "ssh://git@[::ffff:127.0.0.1]:1/x"),
        ("link-local", "http://169.254.169.254/latest/meta-data"),
    ] {
        let body = json!({"name": name, "display_name": name, "repository": url, "wildcard": "packages.*"});
        alice.put("/projects/acme", body).await.message();
        let refused = alice.post(&format!("/projects/acme/{name}/check-repository"), json!({})).await;
        assert_eq!(refused.error(), (400, "repository_unreachable"));
        assert!(refused.sentence().contains("not a public address"), "{refused:?}");
    }
}

async fn a_host_that_does_not_answer_delays_its_own_organization_only(database: &str) {
    let server = Server::with_local_network(database).await;
    let token = server.signed_in("alice").await;
    let alice = server.with(&token);
    let (silent, (folder, hash)) = (TcpListener::bind("127.0.0.1:0").unwrap(), repository());
    let url = format!("http://{}/x.git", silent.local_addr().unwrap());
    for (organization, repository) in [("quiet", url.as_str()), ("acme", folder.path().to_str().unwrap())] {
        alice.organization(organization, false).await;
        let body = json!({"name": "web", "display_name": "web", "repository": repository, "wildcard": "packages.*"});
        alice.put(&format!("/projects/{organization}"), body).await.message();
    }
    let mut checks: FuturesUnordered<_> = (0..20).map(|_| check(alice, "quiet")).collect();
    // Whoever finds no turn is not told that the repository is at fault.
    assert_eq!(checks.next().await.unwrap().error(), (503, "unavailable"));
    assert_eq!(check(alice, "acme").await.message()["hash"], json!(hash));
}
