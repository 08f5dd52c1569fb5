use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use gradient_forge::{Forge, ForgeError, ForgeSettings};

use crate::repository::{Repository, script, settings};

/// A git that starts a process of its own, notes its number, and hangs.
fn hanging(directory: &Path) -> PathBuf {
    script(
        directory,
        "git",
        "sleep 1000 & echo $! > \"$(dirname \"$0\")/new\" && mv \"$(dirname \"$0\")/new\" \"$(dirname \"$0\")/pid\"; wait",
    )
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        ticks.tick().await;
    }
}

/// Whether a process is gone, or only waits for its parent to notice.
fn is_dead(pid_file: &Path) -> bool {
    let pid = fs::read_to_string(pid_file).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ") || stat.contains(") X ")
}

#[tokio::test]
async fn a_git_that_hangs_is_ended_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let timeout = Duration::from_millis(1500);
    let forge = Forge::new(ForgeSettings { git: hanging(directory.path()), timeout, ..settings() });
    let begun = Instant::now();
    let error = forge.head(&"/any".parse().unwrap(), None, None).await.unwrap_err();
    assert!(matches!(error, ForgeError::TimedOut { after } if after == timeout), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let pid = directory.path().join("pid");
    until("the child of git is dead", || is_dead(&pid)).await;
}

#[tokio::test]
async fn who_stops_waiting_ends_git_too() {
    let directory = tempfile::tempdir().unwrap();
    let forge = Forge::new(ForgeSettings { git: hanging(directory.path()), ..settings() });
    let waiting = tokio::spawn(async move { forge.head(&"/any".parse().unwrap(), None, None).await });
    let pid = directory.path().join("pid");
    until("git has started its child", || pid.exists()).await;
    assert!(!is_dead(&pid));
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    until("the child of git is dead", || is_dead(&pid)).await;
}

#[tokio::test]
async fn endless_answers_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let git = script(directory.path(), "git", "head -c 50000000 /dev/zero; head -c 50000000 /dev/zero | tr '\\0' x >&2; exit 1");
    let forge = Forge::new(ForgeSettings { git, ..settings() });
    let error = forge.head(&"/any".parse().unwrap(), None, None).await.unwrap_err();
    assert!(matches!(&error, ForgeError::Unreachable { words } if words.len() == 1000), "{error:?}");
}

#[tokio::test]
async fn a_missing_git_is_not_the_repositorys_fault() {
    let forge = Forge::new(ForgeSettings { git: "/nonexistent/git".into(), ..settings() });
    let error = forge.head(&"/any".parse().unwrap(), None, None).await.unwrap_err();
    assert!(matches!(error, ForgeError::Git(_)), "{error:?}");
}

#[tokio::test]
async fn the_environment_of_the_server_stays_with_it() {
    let repository = Repository::new();
    let directory = tempfile::tempdir().unwrap();
    let git = script(directory.path(), "git", "env > \"$(dirname \"$0\")/env\"; exec git \"$@\"");
    let secrets = [("GRADIENT_JWT_SECRET_FILE", "secret"), ("GIT_DIR", "/elsewhere"), ("GIT_SSH", "evil"), ("no_proxy", "*")];
    let settings = settings().with_environment(secrets.map(|(name, value)| (name.into(), value.into())));
    Forge::new(ForgeSettings { git, ..settings }).head(&repository.url(), None, None).await.unwrap();
    let environment = fs::read_to_string(directory.path().join("env")).unwrap();
    assert!(environment.contains("no_proxy=*") && environment.contains("GIT_TERMINAL_PROMPT=0"), "{environment}");
    for stranger in ["GRADIENT_", "GIT_DIR=/elsewhere", "evil", "CARGO"] {
        let found = environment.lines().any(|line| line.contains(stranger) && !line.starts_with("PATH="));
        assert!(!found, "{stranger} in {environment}");
    }
}
