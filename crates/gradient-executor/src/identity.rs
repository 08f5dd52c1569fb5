//! Who this worker is: an id that it makes once and keeps.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use gradient_domain::{IdError, WorkerId};
use thiserror::Error;

/// Why a worker does not know who it is.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The file cannot be read or made.
    #[error("cannot keep the worker's id in {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is something else in it.
    #[error("{path} does not hold a worker's id: {source}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: IdError,
    },
}

/// The id in `<base>/worker-id`, made when there is none, readable by this user only.
pub fn worker_id(base: &Path) -> Result<WorkerId, IdentityError> {
    let path = base.join("worker-id");
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|source| IdentityError::Content { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = WorkerId::random();
            write(base, &path, id).map_err(|source| IdentityError::File { path, source })?;
            Ok(id)
        }
        Err(source) => Err(IdentityError::File { path, source }),
    }
}

/// Whole or not at all: a half written file would be another worker's id, or none, after a crash.
fn write(base: &Path, path: &Path, id: WorkerId) -> io::Result<()> {
    // Such a file has mode 0600 from the start.
    let mut file = tempfile::NamedTempFile::new_in(base)?;
    writeln!(file, "{id}")?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    fs::File::open(base)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_id_is_made_once() {
        let base = tempfile::tempdir().unwrap();
        let id = worker_id(base.path()).unwrap();
        assert_eq!(worker_id(base.path()).unwrap(), id);
        let mode = fs::metadata(base.path().join("worker-id")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn something_else_in_the_file_is_told() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("worker-id"), "me\n").unwrap();
        let error = worker_id(base.path()).unwrap_err().to_string();
        let expected = "worker-id does not hold a worker's id: `me` is no worker id: expected a UUID";
        assert!(error.ends_with(expected), "{error}");
        assert!(worker_id(Path::new("/nowhere/at/all")).is_err());
    }
}
