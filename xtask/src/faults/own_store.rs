//! A worker whose files and whose Nix store are on a disk of its own, which it takes for the machine's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::Result;
use gradient_test_support::deployment::Programs;

/// What runs a program so that it finds another folder at `/nix`, and nobody else does. Its id and its signals are the program's.
const SCRIPT: &str = "#!/bin/sh
mkdir -p /nix
exec unshare --mount --propagation private sh -c 'mount --bind \"$0\" /nix && exec \"$1\"' \"@nix@\" \"@worker@\"
";

/// Less than this, and the worker takes nothing new: some of a small disk.
pub(super) const MIN_FREE_BYTES: u64 = 32 << 20;

/// Gives a worker that is started below `folder` this disk, and returns the programs that it has to be started with.
pub(super) fn on(disk: &Path, folder: &Path, programs: &Programs) -> Result<Programs> {
    for name in ["nix", "state"] {
        fs::create_dir_all(disk.join(name))?;
    }
    fs::create_dir_all(folder.join("worker"))?;
    symlink(disk.join("state"), folder.join("worker/state"))?;
    let worker = folder.join("gradient-worker");
    let text = SCRIPT.replace("@nix@", &disk.join("nix").display().to_string());
    fs::write(&worker, text.replace("@worker@", &programs.worker.display().to_string()))?;
    fs::set_permissions(&worker, Permissions::from_mode(0o755))?;
    Ok(Programs { worker, ..programs.clone() })
}

/// Where a store path of it is.
pub(super) fn real_path(disk: &Path, store_path: &str) -> PathBuf {
    disk.join(store_path.trim_start_matches('/'))
}
