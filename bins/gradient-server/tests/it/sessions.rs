//! A worker's socket takes what strangers send.

use std::net::TcpStream;
use std::time::Duration;

use gradient_test_support::deployment::{Installation, wait};
use serde_json::json;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use crate::trial::{LIMIT, Trial};

#[test]
fn a_malformed_frame_ends_that_session_only() {
    Trial::usual().unwrap().run(|trial| {
        let connected_at = trial.installation.live_worker()?.and_then(|live| live.get("connected_at").cloned());
        for garbage in [vec![], vec![0xc1], vec![0xff; 64], b"\x81\xa5Hello\xc0".to_vec()] {
            let mut socket = connect(&trial.installation.server().worker_url());
            socket.send(Message::binary(garbage.clone())).expect("the server reads");
            expect_end(&mut socket, &garbage);
        }

        // The worker's own session is the same one, and works.
        let live = trial.installation.live_worker()?.expect("the worker is still connected");
        assert_eq!(live.get("connected_at").cloned(), connected_at);
        let evaluation = trial.evaluate("packages", "chain-1")?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed");
        Ok(())
    });
}

#[test]
fn a_deleted_worker_cannot_return() {
    Trial::usual().unwrap().run(|trial| {
        let path = format!("/orgs/{}/workers", Installation::ORGANIZATION);
        let workers = trial.installation.api().get(&path)?;
        let id = workers.pointer("/0/worker_id").and_then(|id| id.as_str()).expect("a worker").to_owned();
        trial.installation.api().delete(&format!("{path}/{id}"))?;
        assert_eq!(trial.installation.api().get(&path)?, json!([]));

        // Its connection ends with that, and there is no other one.
        wait::until("the worker to be turned away", LIMIT, || {
            let worker = trial.installation.worker().expect("a worker").process();
            worker.expect_running()?;
            Ok(worker.log_tail().contains("the server knows none of the tokens").then_some(()))
        })
    });
}

fn connect(url: &str) -> WebSocket<TcpStream> {
    let address = url.trim_start_matches("ws://").split('/').next().expect("a host").to_owned();
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    client(url, stream).expect("a WebSocket").0
}

/// Reads until the server closes; its refusal may come first, an acknowledgement of the garbage must not.
fn expect_end(socket: &mut WebSocket<TcpStream>, garbage: &[u8]) {
    for _ in 0..8 {
        match socket.read() {
            Ok(Message::Close(_)) => return,
            Ok(_) => {}
            Err(tokio_tungstenite::tungstenite::Error::Io(error))
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                panic!("the session goes on after {garbage:?}")
            }
            Err(_) => return,
        }
    }
    panic!("the server goes on talking after {garbage:?}");
}
