//! Where things are when nobody says where.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::WrongSetting;

/// What a package or an administrator makes.
const SYSTEM: &str = "/var/lib/gradient-worker";

/// The base directory, which exists after this.
pub(crate) fn base(set: Option<PathBuf>) -> Result<PathBuf, WrongSetting> {
    let base = match set {
        Some(path) => path,
        None => default()?,
    };
    fs::create_dir_all(&base).map_err(|error| {
        WrongSetting::new("GRADIENT_WORKER_BASE_DIR", &format!("is {}, which cannot be made: {error}", base.display()))
    })?;
    fs::canonicalize(&base).map_err(|error| {
        WrongSetting::new("GRADIENT_WORKER_BASE_DIR", &format!("is {}, which cannot be used: {error}", base.display()))
    })
}

/// An empty directory for files that no job outlives; what an earlier process left is removed.
pub(crate) fn scratch(base: &Path) -> Result<PathBuf, WrongSetting> {
    let scratch = base.join("scratch");
    let made = || {
        if scratch.exists() {
            fs::remove_dir_all(&scratch)?;
        }
        fs::create_dir(&scratch)?;
        fs::set_permissions(&scratch, std::os::unix::fs::PermissionsExt::from_mode(0o700))
    };
    made().map_err(|error| {
        let wrong = format!("is {}, where temporary files cannot be made: {error}", base.display());
        WrongSetting::new("GRADIENT_WORKER_BASE_DIR", &wrong)
    })?;
    Ok(scratch)
}

fn default() -> Result<PathBuf, WrongSetting> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // With several directories systemd separates them by colons; the first one is ours.
    let systemd = variable("STATE_DIRECTORY").and_then(|paths| env::split_paths(&paths).next());
    systemd
        .or_else(|| Some(PathBuf::from(SYSTEM)).filter(|path| is_writable(path)))
        .or_else(|| variable("XDG_STATE_HOME").map(|state| state.join("gradient-worker")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state/gradient-worker")))
        .ok_or_else(|| {
            WrongSetting::new(
                "GRADIENT_WORKER_BASE_DIR",
                "is needed, since neither STATE_DIRECTORY nor HOME is set: expected a directory",
            )
        })
}

/// Whether a file can be made there, which is all that counts.
fn is_writable(directory: &Path) -> bool {
    let probe = directory.join(format!(".probe-{}", std::process::id()));
    let made = fs::write(&probe, []).is_ok();
    // When it was not made there is nothing to remove.
    let _ = fs::remove_file(probe);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_made() {
        let folder = env::temp_dir().join(format!("gradient-worker-test-{}", uuid::Uuid::new_v4()));
        let base = base(Some(folder.join("a/b"))).unwrap();
        let first = scratch(&base).unwrap();
        fs::write(first.join("left over"), "x").unwrap();
        assert_eq!(fs::read_dir(scratch(&base).unwrap()).unwrap().count(), 0);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        let error = base(Some("/proc/no/such".into())).unwrap_err().to_string();
        assert!(error.starts_with("GRADIENT_WORKER_BASE_DIR is /proc/no/such, which cannot be made: "), "{error}");
    }
}
