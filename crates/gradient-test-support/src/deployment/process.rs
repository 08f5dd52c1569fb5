use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{DeploymentError, wait};

/// How much of the end of a log is worth showing.
const TAIL_BYTES: i64 = 8 * 1024;

/// A program in a process group of its own, with what it prints in a file. Dropping it ends the whole group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    left_running: bool,
}

impl Process {
    /// Starts it without standard input; both outputs are appended to `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self, DeploymentError> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(DeploymentError::io(format!("opening {}", log.display())))?;
        let both = file.try_clone().map_err(DeploymentError::io("sharing a log"))?;
        command.stdin(Stdio::null()).stdout(both).stderr(file).process_group(0);
        let child =
            command.spawn().map_err(DeploymentError::io(format!("starting {name} ({})", command.get_program().display())))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_path_buf(), left_running: false })
    }

    /// What it prints behind `beginning`, once it has printed such a line.
    pub fn wait_for_line(&mut self, beginning: &str, limit: Duration) -> Result<String, DeploymentError> {
        let what = format!("{} to say `{}`", self.name, beginning.trim());
        wait::until(&what, limit, || {
            self.expect_running()?;
            let log = self.log_tail();
            let whole_lines = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
            Ok(whole_lines.lines().find_map(|line| line.strip_prefix(beginning)).map(str::to_owned))
        })
    }

    /// Waits until it has printed this.
    pub fn wait_for_log(&mut self, text: &str, limit: Duration) -> Result<(), DeploymentError> {
        let what = format!("{} to say `{text}`", self.name);
        wait::until(&what, limit, || {
            self.expect_running()?;
            Ok(self.log_tail().contains(text).then_some(()))
        })
    }

    /// Its process id, which is also that of its group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Tells it to read again what it reads on start (SIGHUP).
    pub fn signal_hangup(&self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::HUP);
        }
    }

    /// Lets it stand still (SIGSTOP).
    pub fn pause(&self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::STOP);
        }
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, DeploymentError> {
        self.child.try_wait().map_err(DeploymentError::io(format!("looking after {}", self.name)))
    }

    /// An error with the end of its log when it is no longer running.
    pub fn expect_running(&mut self) -> Result<(), DeploymentError> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(DeploymentError::Ended { what: self.name.clone(), status, output: self.log_tail() }),
        }
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, DeploymentError> {
        let what = format!("the end of {}", self.name);
        wait::until(&what, limit, || self.ended())
    }

    /// Asks it to end, waits for that at most `limit`, and then ends whatever is left of its group.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus, DeploymentError> {
        self.terminate();
        let ended = self.wait(limit);
        self.kill();
        ended
    }

    /// Ends the whole group at once.
    pub fn kill(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// Lets it run on after this value is gone.
    pub fn leave_running(mut self) -> u32 {
        self.left_running = true;
        self.id()
    }

    /// The end of what it printed.
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_default()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.left_running {
            self.kill();
        }
    }
}

/// Runs a program to its end, at most for `limit`, and returns how it ended and what it printed on both outputs.
pub(crate) fn run(what: &str, command: &mut Command, limit: Duration) -> Result<(ExitStatus, String), DeploymentError> {
    let folder = tempfile::tempdir().map_err(DeploymentError::io("making a temporary folder"))?;
    let log = folder.path().join("output");
    let mut process = Process::spawn(what, command, &log)?;
    let status = process.wait(limit)?;
    let output = std::fs::read(&log).map_err(DeploymentError::io("reading a program's output"))?;
    Ok((status, String::from_utf8_lossy(&output).into_owned()))
}

fn tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = i64::try_from(file.metadata().ok()?.len()).ok()?;
    file.seek(SeekFrom::End(-length.min(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
