//! Uploads in a process of their own, which can be killed, and whose memory is nobody else's.

use std::{env, fs, io::Write, path::Path, process::Command};

use futures_util::TryStreamExt;
use gradient_blobs::{Blobs, Put};

use crate::store::{install_cryptography, nar, settings};

/// Says what the process does: the server's endpoint, the size of the upload in MiB, and the folder for what is staged.
const TASK: &str = "GRADIENT_TEST_UPLOAD";

/// This program once more, with [`upload`] only.
pub(crate) fn command(endpoint: &str, mebibytes: usize, staging: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "process::upload", "--nocapture"]);
    command.env(TASK, format!("{endpoint} {mebibytes} {}", staging.display()));
    command
}

/// What the other process does. By itself it is no test.
#[tokio::test]
async fn upload() {
    let Ok(task) = env::var(TASK) else { return };
    let [endpoint, mebibytes, staging] = task.split(' ').collect::<Vec<_>>().try_into().unwrap();
    install_cryptography();
    let blobs = Blobs::open_s3(settings(endpoint), staging).await.unwrap();
    let mut staged = blobs.staging().create().await.unwrap();
    let mebibytes: usize = mebibytes.parse().unwrap();
    for number in 0..mebibytes {
        staged.write_all(&vec![u8::try_from(number % 251).unwrap(); 1 << 20]).unwrap();
    }
    assert_eq!(blobs.put_staged(&nar(1), staged).await.unwrap(), Put::New);
    let mut blob = blobs.get(&nar(1)).await.unwrap().unwrap();
    let mut read = 0;
    while let Some(piece) = blob.stream.try_next().await.unwrap() {
        assert_eq!(usize::from(piece[0]), (read >> 20) % 251);
        read += piece.len();
    }
    assert_eq!(read, mebibytes << 20);
    println!("peak KiB: {}", peak());
}

fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
