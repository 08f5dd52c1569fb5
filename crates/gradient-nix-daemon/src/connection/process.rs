use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
};

use super::Connection;
use crate::{Error, event::without_colours};

/// How long a daemon may take to end its builder once its client is gone.
const GRACE: Duration = Duration::from_secs(5);

/// How much of what the program prints is kept for the error message.
const STDERR_BYTES: usize = 4096;

/// How to start a daemon of one's own, `nix-daemon --stdio`, which lives as long as its connection.
#[derive(Debug, Clone)]
pub struct Daemon {
    program: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Daemon {
    /// The daemon in this program, on the store of this machine (`NIX_REMOTE=local`).
    pub fn new(program: impl Into<PathBuf>) -> Self {
        // Never unset: with no store of its own to open, a daemon connects to itself.
        Self { program: program.into(), environment: vec![("NIX_REMOTE".into(), "local".into())] }
    }

    /// Sets a variable of its environment; the rest it inherits. `NIX_REMOTE` is the store: `local`, a directory that a store is
    /// below, or `daemon` to be connected with the daemon of the machine.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Starts it and shakes hands.
    pub async fn connect(&self) -> Result<Connection, Error> {
        let Started { child, stdin, stdout, stderr } = self.start()?;
        let last_words = LastWords::listen(stderr);
        match Connection::open(stdout, stdin).await {
            Ok(mut connection) => {
                connection.process = Some(Process { child: Some(child) });
                Ok(connection)
            }
            Err(Error::Io(error)) => Err(last_words.hear(child).await.map_or(Error::Io(error), Error::Ended)),
            Err(error) => Err(error),
        }
    }

    /// Starts it for somebody who shakes hands in another way.
    pub(crate) fn start_silently(&self) -> Result<(ChildStdout, ChildStdin, Process), Error> {
        let Started { child, stdin, stdout, stderr } = self.start()?;
        // Listened to all the same, as a full pipe would stop it.
        LastWords::listen(stderr);
        Ok((stdout, stdin, Process { child: Some(child) }))
    }

    fn start(&self) -> Result<Started, Error> {
        let mut command = Command::new(&self.program);
        command.arg("--stdio").envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A Ctrl-C in the terminal is for the worker, which ends its builds in order.
        command.process_group(0);
        let mut child = command.spawn().map_err(|source| Error::Spawn { program: self.program.clone(), source })?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(Error::Malformed("no pipes"));
        };
        Ok(Started { child, stdin, stdout, stderr })
    }
}

/// A daemon with its pipes.
struct Started {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

/// What a program prints last, which says why it ended.
struct LastWords {
    text: Arc<Mutex<Vec<u8>>>,
    listener: JoinHandle<()>,
}

impl LastWords {
    fn listen(mut stderr: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let listener = tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
                let Ok(mut kept) = kept.lock() else { return };
                kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
                let excess = kept.len().saturating_sub(STDERR_BYTES);
                kept.drain(..excess);
            }
        });
        Self { text, listener }
    }

    async fn hear(self, mut child: Child) -> Option<String> {
        drop(child.stdin.take());
        let _ = tokio::time::timeout(GRACE, child.wait()).await;
        let _ = tokio::time::timeout(GRACE, self.listener).await;
        let text = self.text.lock().ok().map(|text| String::from_utf8_lossy(&text).trim().to_owned())?;
        Some(without_colours(&text)).filter(|text| !text.is_empty())
    }
}

/// A started daemon. It ends by itself when its connection does, and its builder with it; it is only killed when it does not.
pub(crate) struct Process {
    child: Option<Child>,
}

impl Drop for Process {
    fn drop(&mut self) {
        if let (Some(mut child), Ok(runtime)) = (self.child.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                    let _ = child.kill().await;
                }
            });
        }
    }
}
