use std::{sync::Arc, time::Duration};

use gradient_domain::{EvaluationId, Id};
use gradient_protocol::{Report, decode};
use tokio::time::timeout;

use super::*;

fn job() -> Key {
    let id: EvaluationId = Id::new();
    (Job::Evaluate(id), Epoch(1))
}

async fn say(outbox: &Outbox, key: Key, report: Report, last: bool) {
    let message = |number| ToServer::Report { number, job: key.0, epoch: key.1, report };
    let sent = outbox.report(key, last, |number| gradient_protocol::encode(&message(number)).map(Bytes::from));
    timeout(Duration::from_secs(5), sent).await.expect("there is room").unwrap();
}

/// What is sent next, in short.
fn next(outbox: &Outbox) -> Option<String> {
    Some(match decode::<ToServer>(&outbox.next_frame()?).unwrap() {
        ToServer::Report { number, report: Report::Started {}, .. } => format!("{number} started"),
        ToServer::Report { number, report: Report::Evaluated {}, .. } => format!("{number} evaluated"),
        ToServer::Log { offset, bytes, .. } => format!("log {offset}+{}", bytes.len()),
        other => format!("{other:?}"),
    })
}

#[tokio::test]
async fn reports_are_sent_once_in_order_until_a_new_connection() {
    let outbox = Outbox::default();
    let key = job();
    outbox.open(key);
    say(&outbox, key, Report::Started {}, false).await;
    say(&outbox, key, Report::Evaluated {}, true).await;
    assert_eq!(next(&outbox).unwrap(), "1 started");
    assert_eq!(next(&outbox).unwrap(), "2 evaluated");
    assert_eq!(next(&outbox), None);

    outbox.acknowledge(1);
    outbox.rewind();
    assert_eq!(next(&outbox).unwrap(), "2 evaluated");
    assert_eq!(outbox.jobs(), [key]);
    outbox.acknowledge(2);
    assert!(outbox.is_empty());
    outbox.acknowledge(2);
    outbox.rewind();
    assert_eq!(next(&outbox), None);
}

#[tokio::test]
async fn the_last_report_comes_after_the_log() {
    let outbox = Outbox::default();
    let key = job();
    outbox.open(key);
    outbox.log(key, &vec![b'x'; 300 << 10]).await;
    say(&outbox, key, Report::Evaluated {}, true).await;
    let sent: Vec<_> = std::iter::from_fn(|| next(&outbox)).collect();
    assert_eq!(sent, ["log 0+262144", "log 262144+45056", "1 evaluated"]);
    assert_eq!(outbox.log_bytes(key), 300 << 10);

    outbox.log_stored(key, 262_144);
    outbox.rewind();
    let again: Vec<_> = std::iter::from_fn(|| next(&outbox)).collect();
    assert_eq!(again, ["log 262144+45056", "1 evaluated"]);
}

#[tokio::test]
async fn logs_take_turns() {
    let outbox = Outbox::default();
    let (one, other) = (job(), job());
    for key in [one, other] {
        outbox.open(key);
        outbox.log(key, &vec![b'x'; 600 << 10]).await;
    }
    let mut jobs = Vec::new();
    while let Some(frame) = outbox.next_frame() {
        let ToServer::Log { job, .. } = decode(&frame).unwrap() else { panic!("only logs") };
        jobs.push(job);
    }
    assert_eq!(jobs, [one.0, other.0, one.0, other.0, one.0, other.0]);
}

#[tokio::test]
async fn a_job_that_says_too_much_waits() {
    let outbox = Arc::new(Outbox::default());
    let key = job();
    outbox.open(key);
    for _ in 0..MAX_REPORTS {
        say(&outbox, key, Report::Started {}, false).await;
    }
    let waiting = tokio::spawn({
        let outbox = Arc::clone(&outbox);
        async move { say(&outbox, key, Report::Evaluated {}, true).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    outbox.acknowledge(1);
    timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_log_that_is_not_stored_waits() {
    let outbox = Arc::new(Outbox::default());
    let key = job();
    outbox.open(key);
    let waiting = tokio::spawn({
        let outbox = Arc::clone(&outbox);
        async move { outbox.log(key, &vec![b'x'; (1 << 20) + 10]).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert_eq!(outbox.log_bytes(key), 1 << 20);
    outbox.log_stored(key, 100);
    timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    assert_eq!(outbox.log_bytes(key), (1 << 20) + 10);
}

#[tokio::test]
async fn a_log_is_kept_in_a_file_while_the_server_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let outbox = Outbox::spilling(directory.path().to_path_buf());
    let key = job();
    outbox.open(key);
    let log: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    for part in log.chunks(70_001) {
        outbox.log(key, part).await;
    }
    say(&outbox, key, Report::Evaluated {}, true).await;
    assert_eq!(outbox.log_bytes(key), 3_000_000);

    // The server comes back, is lost once more in the middle, and then takes all of it.
    let mut got: Vec<u8> = Vec::new();
    let mut chunks = 0;
    while let Some(frame) = outbox.next_frame() {
        match decode::<ToServer>(&frame).unwrap() {
            ToServer::Log { offset, bytes, .. } => {
                chunks += 1;
                got.truncate(usize::try_from(offset).unwrap());
                got.extend(bytes);
                if chunks == 3 {
                    outbox.rewind();
                } else {
                    outbox.log_stored(key, u64::try_from(got.len()).unwrap());
                }
            }
            last => {
                assert!(matches!(last, ToServer::Report { report: Report::Evaluated {}, .. }), "{last:?}");
                break;
            }
        }
    }
    assert!(got == log, "{} of {} bytes", got.len(), log.len());
}

#[tokio::test]
async fn a_cancelled_job_says_only_that_it_has_ended() {
    let outbox = Outbox::default();
    let key = job();
    outbox.open(key);
    outbox.log(key, b"unsent").await;
    say(&outbox, key, Report::Started {}, false).await;
    outbox.withdraw(key);
    assert_eq!(next(&outbox), None);
    say(&outbox, key, Report::Evaluated {}, true).await;
    assert_eq!(next(&outbox).unwrap(), "2 evaluated");
    outbox.acknowledge(2);
    assert!(outbox.is_empty());
    let late = outbox.report(key, true, |_| Ok(Bytes::new())).await;
    assert!(matches!(late, Err(ReportError::Closed)));
}
