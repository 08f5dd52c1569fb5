//! The conversation: what survives a connection, and what ends a worker.

use std::{fs, time::Duration};

use gradient_domain::{Epoch, EvaluationId, FailureKind, Id, Job, JobKind, OrganizationId};
use gradient_executor::WorkerError;
use gradient_nix::{NarHash, PublicKey};
use gradient_protocol::{EvaluateTask, FetchTask, RefusalCode, Report, Source, Task, ToServer, ToWorker};
use gradient_test_support::nix::{Installation, installations};

use crate::{
    server::Server,
    world::{Worker, peer_line},
};

fn nix() -> Installation {
    installations().unwrap().swap_remove(0)
}

fn assign(job: Job, epoch: Epoch, task: Task) -> ToWorker {
    let peer: OrganizationId = Id::new();
    ToWorker::Assign { job, epoch, peer, task: Box::new(task) }
}

/// A fetch that fails at once.
fn hopeless() -> Task {
    Task::Fetch(FetchTask { repository: "-x".into(), commit: "a".repeat(40), reference: None, access: None })
}

#[tokio::test]
async fn a_worker_says_who_it_is_and_what_it_can() {
    let mut server = Server::start().await;
    let worker = Worker::start(&nix(), &server.socket).await;
    let (_peer, hello) = server.welcome("t").await;
    assert_eq!(hello.worker, worker.id);
    assert_eq!(hello.tokens.len(), 1);
    assert_eq!(hello.capabilities.kinds, [JobKind::Fetch, JobKind::Evaluate]);
    assert!(hello.capabilities.systems.contains(&"x86_64-linux".to_owned()), "{:?}", hello.capabilities);
    assert_eq!(hello.capabilities.features, ["benchmark", "big-parallel", "nixos-test"]);
    assert!(hello.capabilities.memory_bytes > 0 && hello.capabilities.cores > 0);
}

#[tokio::test]
async fn what_is_not_acknowledged_is_said_again() {
    let mut server = Server::start().await;
    let worker = Worker::start(&nix(), &server.socket).await;
    let job = Job::Fetch(EvaluationId::new());
    let (mut peer, hello) = server.welcome("t").await;
    assert_eq!(hello.running, []);
    peer.send(&assign(job, Epoch(3), hopeless())).await;
    assert_eq!(peer.numbered_report().await, (1, Report::Started {}));
    let (2, failed @ Report::Failed { .. }) = peer.numbered_report().await else { panic!("it fails") };
    drop(peer);

    let (mut peer, hello) = server.welcome("t").await;
    assert_eq!(hello.running, [(job, Epoch(3))]);
    assert_eq!(peer.numbered_report().await, (1, Report::Started {}));
    assert_eq!(peer.numbered_report().await, (2, failed));
    peer.send(&ToWorker::Acknowledged { number: 1 }).await;
    peer.send(&ToWorker::Acknowledged { number: 2 }).await;

    worker.stop.cancel();
    assert_eq!(peer.next().await, ToServer::Draining {});
    peer.closed().await;
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn a_malformed_frame_ends_the_connection_only() {
    let mut server = Server::start().await;
    let worker = Worker::start(&nix(), &server.socket).await;
    let (mut peer, _) = server.hello().await;
    peer.send_frame(b"no message".to_vec()).await;
    let (mut peer, _) = server.welcome("t").await;
    peer.send_frame(b"no message".to_vec()).await;
    peer.closed().await;
    let (peer, _) = server.welcome("t").await;
    worker.stop.cancel();
    peer.closed().await;
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn a_cancelled_job_leaves_nothing() {
    let mut server = Server::start().await;
    let worker = Worker::start(&nix(), &server.socket).await;
    let job = Job::Evaluate(EvaluationId::new());
    let path: gradient_nix::StorePath = "vvwmn6b5gh2lvkyi4gpnag6d4jdh4d8p-source".parse().unwrap();
    server.scope.lock().unwrap().stuck.insert(path.to_string());
    let source = Source { path, nar_hash: NarHash([0; 32]), rev: None, rev_count: None, last_modified: None };
    let (mut peer, _) = server.welcome("t").await;
    let task = EvaluateTask { source, wildcard: "packages.*.#".into(), allow_ifd: false, show_ifd: false };
    peer.send(&assign(job, Epoch(1), Task::Evaluate(task))).await;
    assert_eq!(peer.report().await, Report::Started {});
    peer.send(&ToWorker::Cancel { job, epoch: Epoch(1), reason: "test".into() }).await;
    let Report::Failed { failure, .. } = peer.report().await else { panic!("it says that it has stopped") };
    assert_eq!(failure.kind, FailureKind::Aborted);
    // Nothing of it is left to wait for.
    worker.stop.cancel();
    assert_eq!(peer.next().await, ToServer::Draining {});
    peer.closed().await;
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn other_peers_are_proven_over_a_new_connection() {
    let mut server = Server::start().await;
    let worker = Worker::start(&nix(), &server.socket).await;
    let (peer, first) = server.welcome("t").await;
    fs::write(worker.store.home().join("peers"), "broken").unwrap();
    fs::write(worker.store.home().join("peers"), peer_line('b')).unwrap();
    peer.closed().await;
    let (_peer, second) = server.welcome("t").await;
    assert_ne!(first.tokens[0].token, second.tokens[0].token);
}

#[tokio::test]
async fn a_server_of_another_time_ends_the_worker() {
    let mut server = Server::start().await;
    let worker = Worker::start(&nix(), &server.socket).await;
    let (mut peer, _) = server.hello().await;
    let message = "this server speaks 7 to 9".to_owned();
    peer.send(&ToWorker::Refused { code: RefusalCode::Version, message }).await;
    let error = worker.ended().await.unwrap_err();
    assert!(matches!(error, WorkerError::Version(_)));
    assert!(error.to_string().ends_with("this server speaks 7 to 9"), "{error}");
}

#[tokio::test]
async fn an_old_token_waits_for_the_next_session() {
    let mut server = Server::start().await;
    let worker = Worker::start(&nix(), &server.socket).await;
    let job = Job::Evaluate(EvaluationId::new());
    let path: gradient_nix::StorePath = "vvwmn6b5gh2lvkyi4gpnag6d4jdh4d8p-source".parse().unwrap();
    let source = Source { path, nar_hash: NarHash([0; 32]), rev: None, rev_count: None, last_modified: None };
    let task = EvaluateTask { source, wildcard: "packages.*.#".into(), allow_ifd: false, show_ifd: false };
    let (mut peer, _) = server.welcome("old").await;
    "new".clone_into(&mut server.scope.lock().unwrap().token);
    peer.send(&assign(job, Epoch(1), Task::Evaluate(task))).await;
    assert_eq!(peer.report().await, Report::Started {});
    let refused = async {
        while server.scope.lock().unwrap().unauthorized == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("the old token is refused");
    drop(peer);
    let (mut peer, _) = server.welcome("new").await;
    let Report::Failed { failure, .. } = peer.report().await else { panic!("there is no such source") };
    assert!(failure.message.ends_with("there is no such path"), "{}", failure.message);
    worker.stop.cancel();
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn it_signs_with_the_key_that_it_has() {
    let mut server = Server::start().await;
    let _worker = Worker::start(&nix(), &server.socket).await;
    let (mut peer, hello) = server.welcome("t").await;
    let [key] = hello.capabilities.signing_keys.as_slice() else { panic!("{:?}", hello.capabilities) };
    let fingerprint = "1;/nix/store/7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello;sha256:x;120;".to_owned();
    let asked =
        |number, key: &str, text: &str| ToWorker::Sign { number, key: key.to_owned(), fingerprints: vec![text.to_owned()] };
    peer.send(&asked(1, key, &fingerprint)).await;
    let public: PublicKey = key.parse().unwrap();
    match peer.next().await {
        ToServer::Signed { number: 1, signatures: Ok(made) } => assert!(public.verifies(&fingerprint, &made[0]), "{made:?}"),
        other => panic!("{other:?}"),
    }
    for wrong in [asked(2, &key.replace("cache.example-1", "cache.example-2"), &fingerprint), asked(2, key, "anything")] {
        peer.send(&wrong).await;
        assert!(matches!(peer.next().await, ToServer::Signed { number: 2, signatures: Err(_) }));
    }
}
