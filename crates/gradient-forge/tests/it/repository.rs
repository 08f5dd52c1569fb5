use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use gradient_domain::RepositoryUrl;
use gradient_forge::{Forge, ForgeSettings};
use tempfile::TempDir;

/// A repository with the branches `main` (two commits, the second tagged `v1`) and `feature/x`.
pub(crate) struct Repository {
    directory: TempDir,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let repository = Self { directory: tempfile::tempdir().unwrap() };
        repository.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repository.git(&["commit", "--quiet", "--allow-empty", "-m", "first"]);
        repository.git(&["branch", "feature/x"]);
        fs::write(repository.path().join("file"), "content").unwrap();
        repository.git(&["add", "file"]);
        repository.git(&["commit", "--quiet", "-m", "second\n\nwith a body"]);
        repository.git(&["tag", "-a", "-m", "a tag", "v1"]);
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self) -> RepositoryUrl {
        self.path().to_str().unwrap().parse().unwrap()
    }

    pub(crate) fn hash(&self, name: &str) -> String {
        self.git(&["rev-parse", name]).trim().to_owned()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let identity = [("NAME", "A. U. Thor"), ("EMAIL", "author@example.org")];
        let mut command = Command::new("git");
        command.args(arguments).current_dir(self.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for (name, value) in identity {
            command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

pub(crate) fn settings() -> ForgeSettings {
    ForgeSettings { allow_local: true, timeout: Duration::from_mins(1), ..ForgeSettings::default() }
        .with_environment(std::env::vars_os())
}

pub(crate) fn forge() -> Forge {
    Forge::new(settings())
}

/// The search path with a directory before it.
pub(crate) fn path_with(directory: &Path) -> (OsString, OsString) {
    let path = std::env::var_os("PATH").unwrap();
    let parts = [directory.to_owned()].into_iter().chain(std::env::split_paths(&path));
    ("PATH".into(), std::env::join_paths(parts).unwrap())
}

pub(crate) fn script(directory: &Path, name: &str, text: &str) -> PathBuf {
    let file = directory.join(name);
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}
