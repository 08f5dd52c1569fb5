//! Runs other programs: with a time limit, a bound on what is kept of their output, and an end when nobody waits any more.

use std::{io, process::Stdio, time::Duration};

use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};

/// What is kept of a program's error output: the end of it.
pub(crate) const KEPT_STDERR_BYTES: usize = 16 << 10;

/// What bounds one run of a program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long it may run.
    pub(crate) time: Duration,
    /// How much it may write to its standard output.
    pub(crate) stdout_bytes: usize,
}

/// Why a program gave nothing.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// It could not be read from or written to.
    #[error("lost `{program}`: {source}")]
    Lost {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// It said that it failed.
    #[error("{stderr}")]
    Failed {
        /// The program.
        program: String,
        /// The end of its error output, or its exit status when there is none.
        stderr: String,
    },
    /// It ran too long.
    #[error("`{program}` did not end within {seconds} seconds")]
    Timeout {
        /// The program.
        program: String,
        /// The limit.
        seconds: u64,
    },
    /// It wrote too much.
    #[error("`{program}` wrote more than {limit} bytes")]
    Output {
        /// The program.
        program: String,
        /// The limit.
        limit: usize,
    },
}

impl ProcessError {
    /// Whether the program itself said no, so that asking again gives the same answer.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// Runs a program to its end and gives what it wrote to its standard output. Dropping the future kills it.
pub(crate) async fn run(mut command: Command, limits: Limits) -> Result<Vec<u8>, ProcessError> {
    let program = name(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| ProcessError::Start { program: program.clone(), source })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = timeout(limits.time, async {
        let (stdout, stderr) = tokio::try_join!(head(stdout, limits.stdout_bytes), tail(stderr))?;
        Ok::<_, io::Error>((stdout, stderr, child.wait().await?))
    })
    .await;
    let (stdout, stderr, status) = ended
        .map_err(|_| ProcessError::Timeout { program: program.clone(), seconds: limits.time.as_secs() })?
        .map_err(|source| ProcessError::Lost { program: program.clone(), source })?;
    let Some(stdout) = stdout else { return Err(ProcessError::Output { program, limit: limits.stdout_bytes }) };
    if status.success() {
        return Ok(stdout);
    }
    let stderr = if stderr.trim().is_empty() { format!("`{program}` ended with {status}") } else { stderr.trim().to_owned() };
    Err(ProcessError::Failed { program, stderr })
}

/// What a program is called in messages.
pub(crate) fn name(command: &Command) -> String {
    command.as_std().get_program().to_string_lossy().into_owned()
}

/// All of the stream, or nothing when it is longer than `limit`.
async fn head(stream: Option<impl AsyncRead + Unpin>, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let Some(stream) = stream else { return Ok(Some(Vec::new())) };
    let mut bytes = Vec::new();
    let ceiling = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    stream.take(ceiling).read_to_end(&mut bytes).await?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// The end of the stream.
async fn tail(stream: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let Some(mut stream) = stream else { return Ok(String::new()) };
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let excess = kept.len().saturating_sub(KEPT_STDERR_BYTES);
        kept.drain(..excess);
    }
}

/// Writes all of `bytes` to a program's standard input and closes it.
pub(crate) async fn feed(mut stdin: tokio::process::ChildStdin, bytes: Vec<u8>) -> io::Result<()> {
    stdin.write_all(&bytes).await?;
    stdin.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { time: Duration::from_secs(20), stdout_bytes: 100 };

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn the_output_is_what_it_wrote() {
        assert_eq!(run(shell("echo hello; echo noise >&2"), LIMITS).await.unwrap(), b"hello\n");
    }

    #[tokio::test]
    async fn a_failure_shows_what_the_program_said() {
        let error = run(shell("echo no such thing >&2; exit 3"), LIMITS).await.unwrap_err();
        assert_eq!(error.to_string(), "no such thing");
        assert!(error.is_refusal());
        let silent = run(shell("exit 3"), LIMITS).await.unwrap_err();
        assert_eq!(silent.to_string(), "`/bin/sh` ended with exit status: 3");
    }

    #[tokio::test]
    async fn time_and_output_are_bounded() {
        let endless = Limits { time: Duration::from_millis(50), ..LIMITS };
        assert!(matches!(run(shell("exec sleep 100"), endless).await, Err(ProcessError::Timeout { .. })));
        assert!(matches!(run(shell("head -c 101 /dev/zero"), LIMITS).await, Err(ProcessError::Output { .. })));
        assert_eq!(run(shell("head -c 100 /dev/zero"), LIMITS).await.unwrap().len(), 100);
        let error = run(shell("head -c 100000 /dev/zero | tr '\\0' x >&2; echo end >&2; exit 1"), LIMITS).await.unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with("xend") && text.len() < KEPT_STDERR_BYTES, "{} bytes", text.len());
    }
}
