use gradient_domain::{BuildId, Epoch, Failure, FailureKind, Id, Job, WorkerId};
use proptest::prelude::*;

use super::*;
use crate::{Capabilities, Hello, PeerSelector, PeerToken, Report, VERSIONS};

fn hello() -> ToServer {
    let worker: WorkerId = "7f2c1d7e-1f5a-4b7e-9d0a-3a7f0a9a4b11".parse().unwrap();
    ToServer::Hello(Hello {
        versions: VERSIONS,
        worker,
        program: "0.1.0".into(),
        tokens: vec![PeerToken { peer: PeerSelector::Any, token: "A".repeat(64) }],
        capabilities: Capabilities {
            kinds: vec![gradient_domain::JobKind::Build],
            systems: vec!["x86_64-linux".into()],
            features: vec![],
            build_slots: 2,
            cores: 2,
            memory_bytes: 1 << 30,
            separates_peers: false,
            nix_version: "2.8.0".into(),
            signing_keys: vec![],
        },
        running: vec![(Job::Build(Id::new()), Epoch(3))],
        draining: false,
        process: None,
    })
}

#[test]
fn a_hello_survives_the_way() {
    let frame = encode(&hello()).unwrap();
    assert_eq!(decode::<ToServer>(&frame), Ok(hello_with(&frame)));
    assert!(frame.len() < MAX_HELLO_BYTES);
}

fn hello_with(frame: &[u8]) -> ToServer {
    decode(frame).unwrap()
}

#[test]
fn unknown_fields_are_ignored() {
    // {"acknowledged": {"number": 7, "news": [1, 2]}}
    let frame = b"\x81\xacacknowledged\x82\xa6number\x07\xa4news\x92\x01\x02";
    assert_eq!(decode::<ToWorker>(frame), Ok(ToWorker::Acknowledged { number: 7 }));
}

#[test]
fn an_unknown_type_is_not_malformed() {
    let frame = b"\x81\xa5fancy\x81\xa1a\x01";
    assert_eq!(decode::<ToServer>(frame), Err(DecodeError::Unsupported { message_type: "fancy".into() }));
}

#[test]
fn a_report_of_a_newer_worker_is_not_malformed() {
    let job = Job::Build(Id::new());
    let report = ToServer::Report { number: 1, job, epoch: Epoch(1), report: Report::Started {} };
    let mut frame = encode(&report).unwrap();
    let at = frame.windows(7).position(|word| word == b"started").unwrap();
    frame[at..at + 7].copy_from_slice(b"stared!");
    let Err(DecodeError::Unsupported { message_type }) = decode::<ToServer>(&frame) else { panic!("it is understood") };
    assert!(message_type.starts_with("report: ") && message_type.contains("stared!"), "{message_type}");
}

#[test]
fn a_known_type_with_wrong_fields_is_malformed() {
    let frame = b"\x81\xacacknowledged\x81\xa6number\xa1x";
    assert!(matches!(decode::<ToWorker>(frame), Err(DecodeError::Malformed(_))));
}

#[test]
fn what_is_too_large_is_not_sent() {
    let log = ToServer::Log { job: Job::Build(Id::new()), epoch: Epoch(1), offset: 0, bytes: vec![0; MAX_FRAME_BYTES] };
    assert!(matches!(encode(&log), Err(EncodeError::TooLarge { .. })));
}

#[test]
fn tokens_are_not_printed() {
    assert!(!format!("{:?}", hello()).contains("AAAA"));
}

proptest! {
    #[test]
    fn logs_survive_the_way(offset: u64, epoch: u32, bytes: Vec<u8>) {
        let job = Job::Build(BuildId::new());
        let message = ToServer::Log { job, epoch: Epoch(epoch), offset, bytes };
        prop_assert_eq!(decode::<ToServer>(&encode(&message).unwrap()), Ok(message));
    }

    #[test]
    fn failures_survive_the_way(message: String, number: u64) {
        let failure = Failure { kind: FailureKind::Permanent, message };
        let job = Job::Evaluate(Id::new());
        let message = ToServer::Report { number, job, epoch: Epoch(1), report: Report::Failed { failure, log_bytes: 1 } };
        prop_assert_eq!(decode::<ToServer>(&encode(&message).unwrap()), Ok(message));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes: Vec<u8>) {
        let _ = decode::<ToServer>(&bytes);
        let _ = decode::<ToWorker>(&bytes);
    }
}
