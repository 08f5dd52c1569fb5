//! `git` as a process that ends in time, with everything it started.

use std::{
    ffi::OsString,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::{Instant, timeout, timeout_at},
};

use crate::contact::Contact;

/// How much of git's answer and of its complaints is kept, in bytes.
const MAX_ANSWER: u64 = 1024 * 1024;
const MAX_COMPLAINT: u64 = 16 * 1024;
/// The largest file that git may write: what a server can fill the disk with, which ignores that one commit was asked for.
#[cfg(target_os = "linux")]
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Runs git for one contact.
pub(crate) struct Git<'g> {
    pub(crate) program: &'g Path,
    pub(crate) environment: &'g [(OsString, OsString)],
    pub(crate) contact: &'g Contact,
}

/// Why git gave no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It ended with this complaint.
    Said(Vec<u8>),
    /// It was ended.
    TimedOut,
    /// It could not be run.
    Io(io::Error),
}

impl Git<'_> {
    pub(crate) async fn run(&self, arguments: &[&str], input: &[u8], deadline: Instant) -> Result<Vec<u8>, Failed> {
        let mut child = self.command(arguments).spawn().map_err(Failed::Io)?;
        let group = Group::of(&child);
        let Ok(spoken) = timeout_at(deadline, converse(&mut child, input)).await else {
            drop(group);
            // It is dead already; a process that hangs in the kernel is not worth waiting for.
            let _ = timeout(Duration::from_secs(1), child.wait()).await;
            return Err(Failed::TimedOut);
        };
        let (answer, complaint, status) = spoken.map_err(Failed::Io)?;
        group.release();
        if status.success() { Ok(answer) } else { Err(Failed::Said(complaint)) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(self.contact.environment())
            .current_dir(self.contact.directory())
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

async fn converse(child: &mut Child, input: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>, ExitStatus)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let speak = async {
        if let Some(mut stdin) = stdin {
            // A program that does not listen says so by its status.
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), answer, complaint, status) =
        tokio::join!(speak, read(stdout, MAX_ANSWER), read(stderr, MAX_COMPLAINT), child.wait());
    Ok((answer?, complaint?, status?))
}

/// Reads to the end, and keeps the beginning.
async fn read(pipe: Option<impl AsyncRead + Unpin>, max: u64) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(max).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

/// The processes that git has started. They are ended when this is dropped, also when the caller stops waiting.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        #[cfg(target_os = "linux")]
        if let Some(pid) = pid {
            use rustix::process::{Resource, Rlimit, prlimit};
            // It may have ended already.
            let _ = prlimit(Some(pid), Resource::Fsize, Rlimit { current: Some(MAX_FILE), maximum: Some(MAX_FILE) });
        }
        Self(pid)
    }

    /// Everything has ended by itself; the number may belong to others from now on.
    fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
