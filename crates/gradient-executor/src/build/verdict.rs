//! What Nix's word for a failed build means to the rest of the house.

use gradient_domain::{Failure, FailureKind};
use gradient_nix_daemon::{BuildResult, BuildStatus};

use crate::job::failure;

/// The failure that a result without success is. `was_silent` says whether the builder had printed nothing for too long, which
/// newer versions of Nix do not tell from running for too long.
pub(super) fn of(result: &BuildResult, was_silent: bool) -> Failure {
    let kind = match kind(result.status, &result.message) {
        FailureKind::Timeout if was_silent => FailureKind::Silent,
        kind => kind,
    };
    failure(kind, without_log(&result.message))
}

fn kind(status: BuildStatus, message: &str) -> FailureKind {
    match status {
        BuildStatus::InputRejected | BuildStatus::MiscFailure if is_unfit(message) => FailureKind::WorkerUnfit,
        BuildStatus::PermanentFailure if was_killed(message) => FailureKind::Transient,
        BuildStatus::PermanentFailure
        | BuildStatus::InputRejected
        | BuildStatus::OutputRejected
        | BuildStatus::CachedFailure
        | BuildStatus::NotDeterministic
        | BuildStatus::HashMismatch => FailureKind::Permanent,
        BuildStatus::TimedOut if message.contains("of silence") => FailureKind::Silent,
        BuildStatus::TimedOut => FailureKind::Timeout,
        BuildStatus::LogLimitExceeded => FailureKind::LogLimit,
        BuildStatus::MiscFailure | BuildStatus::DependencyFailed if lacks_input(message) => FailureKind::InputsMissing,
        BuildStatus::TransientFailure
        | BuildStatus::MiscFailure
        | BuildStatus::DependencyFailed
        | BuildStatus::NoSubstituters
        | BuildStatus::Cancelled
        | BuildStatus::Unknown(_)
        // Successes, which are no failures.
        | BuildStatus::Built
        | BuildStatus::Substituted
        | BuildStatus::AlreadyValid
        | BuildStatus::ResolvesToAlreadyValid => FailureKind::Transient,
    }
}

/// The words with which the versions of Nix say that they lack the system or a feature: the first is that of 2.8, the last two
/// are those of 2.34.
fn is_unfit(message: &str) -> bool {
    ["is required to build", "required system or feature not available", "missing system features", "platform mismatch"]
        .iter()
        .any(|words| message.contains(words))
}

/// Whether somebody ended the builder from outside, such as the kernel when there is no memory left: both versions of Nix name
/// the signal in these words.
fn was_killed(message: &str) -> bool {
    ["due to signal 9 ", "due to signal 15 "].iter().any(|words| message.contains(words))
}

fn lacks_input(message: &str) -> bool {
    message.contains("is not valid") || message.contains("does not exist") || message.contains("no substituter")
}

/// The message without the end of the log that Nix appends: the log is at hand.
fn without_log(message: &str) -> String {
    let is_log = |line: &&str| {
        let line = line.trim_start().to_lowercase();
        line.starts_with("last ") && line.contains(" log line")
    };
    let lines: Vec<&str> = message.lines().take_while(|line| !is_log(line)).map(str::trim_end).collect();
    let text = lines.join("\n");
    let text = text.trim().trim_start_matches("error:").trim_start().trim_end_matches([';', ':']);
    if text.is_empty() { "the build failed without a word".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;

    fn check(status: BuildStatus, message: &str, kind: FailureKind, text: &str) {
        let result =
            BuildResult { status, message: message.into(), duration: Duration::ZERO, cpu: None, outputs: BTreeMap::new() };
        assert_eq!(of(&result, false), Failure { kind, message: text.into() });
    }

    #[test]
    fn words_of_nix_2_8() {
        check(
            BuildStatus::PermanentFailure,
            "error: builder for '/nix/store/x-failing.drv' failed with exit code 3;\n       last 1 log lines:\n       > it broke",
            FailureKind::Permanent,
            "builder for '/nix/store/x-failing.drv' failed with exit code 3",
        );
        check(
            BuildStatus::PermanentFailure,
            "builder for '/nix/store/x-hungry.drv' failed due to signal 9 (Killed)",
            FailureKind::Transient,
            "builder for '/nix/store/x-hungry.drv' failed due to signal 9 (Killed)",
        );
        check(
            BuildStatus::MiscFailure,
            "a 'x86_64-linux' with features {kvm} is required to build 'x.drv', but I am a 'x86_64-linux' with features {}",
            FailureKind::WorkerUnfit,
            "a 'x86_64-linux' with features {kvm} is required to build 'x.drv', but I am a 'x86_64-linux' with features {}",
        );
        check(
            BuildStatus::TimedOut,
            "x timed out after 1 seconds of silence",
            FailureKind::Silent,
            "x timed out after 1 seconds of silence",
        );
        check(BuildStatus::TimedOut, "x timed out after 3 seconds", FailureKind::Timeout, "x timed out after 3 seconds");
    }

    #[test]
    fn words_of_nix_2_34() {
        check(
            BuildStatus::PermanentFailure,
            "Cannot build 'x.drv'.\nReason: builder failed with exit code 3.\nLast 1 log lines:\n> it broke\nFor full logs, run:",
            FailureKind::Permanent,
            "Cannot build 'x.drv'.\nReason: builder failed with exit code 3.",
        );
        check(
            BuildStatus::InputRejected,
            "Cannot build 'x.drv'.\nReason: missing system features\nRequired features: {kvm}",
            FailureKind::WorkerUnfit,
            "Cannot build 'x.drv'.\nReason: missing system features\nRequired features: {kvm}",
        );
        let timed_out = BuildResult {
            status: BuildStatus::TimedOut,
            message: "timed out after 1 seconds".into(),
            duration: Duration::from_secs(1),
            cpu: None,
            outputs: BTreeMap::new(),
        };
        assert_eq!(of(&timed_out, false).kind, FailureKind::Timeout);
        assert_eq!(of(&timed_out, true).kind, FailureKind::Silent);
        check(BuildStatus::Unknown(99), "", FailureKind::Transient, "the build failed without a word");
    }
}
