use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

#[test]
fn output_and_status_come_back() {
    let (status, output) = run("echo", &mut shell("echo one; echo two >&2; exit 3"), Duration::from_secs(10)).unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(output, "one\ntwo\n");
}

#[test]
fn a_program_that_takes_too_long_is_ended_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut process = Process::spawn("sleeper", &mut shell("sleep 600 & echo $!; wait"), &log).unwrap();
    let child: i32 = wait::until("the child's id", Duration::from_secs(10), || {
        Ok::<_, DeploymentError>(process.log_tail().trim().parse().ok())
    })
    .unwrap();
    assert!(matches!(process.wait(Duration::from_millis(1)), Err(DeploymentError::TimedOut { .. })));
    process.kill();
    wait::until("the end of the child", Duration::from_secs(10), || {
        let alive = std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
        Ok::<_, DeploymentError>((!alive).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_program_that_ended_early_shows_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::spawn("short", &mut shell("echo reason; exit 2"), &folder.path().join("log")).unwrap();
    process.wait(Duration::from_secs(10)).unwrap();
    let error = process.expect_running().unwrap_err().to_string();
    assert!(error.contains("reason"), "{error}");
}
