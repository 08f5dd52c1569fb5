//! Where things are when nobody says where.

use std::path::PathBuf;

use gradient_worker::WrongSetting;

/// The base directory: as set, else the one that systemd made for the service, else below the XDG state directory.
pub(crate) fn base(set: Option<PathBuf>) -> Result<PathBuf, WrongSetting> {
    if let Some(path) = set {
        return Ok(path);
    }
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // With several directories systemd separates them by colons; the first one is ours.
    if let Some(state) = std::env::var("STATE_DIRECTORY").ok().and_then(|paths| paths.split(':').next().map(PathBuf::from)) {
        return Ok(state);
    }
    variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("gradient"))
        .ok_or_else(|| {
            WrongSetting::new(
                "GRADIENT_BASE_DIR",
                "is needed, since neither STATE_DIRECTORY nor HOME is set: expected a directory",
            )
        })
}
