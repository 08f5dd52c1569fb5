//! The secret files: made on first start, and never another one than the database knows.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use gradient_auth::SecretKeys;
use gradient_storage::{Conn, Storage, settings};

use gradient_worker::WrongSetting;

use crate::arguments::Arguments;

/// One of the server's secrets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SecretSetting {
    /// The setting that names its file.
    pub(crate) setting: &'static str,
    /// Where its fingerprint is kept in the database.
    pub(crate) fingerprint: &'static str,
}

pub(crate) const JWT: SecretSetting = SecretSetting { setting: "GRADIENT_JWT_SECRET_FILE", fingerprint: "jwt_secret" };
pub(crate) const CRYPT: SecretSetting = SecretSetting { setting: "GRADIENT_CRYPT_SECRET_FILE", fingerprint: "crypt_secret" };

/// The secrets of a server that starts, with where they are.
#[derive(Debug)]
pub(crate) struct Secrets {
    jwt: (SecretKeys, PathBuf),
    crypt: (SecretKeys, PathBuf),
}

impl Secrets {
    pub(crate) fn read_or_make(arguments: &Arguments, base: &Path) -> anyhow::Result<Self> {
        let read = |setting: SecretSetting, file: &Option<PathBuf>, usual: &str| -> anyhow::Result<_> {
            let file = file.clone().unwrap_or_else(|| base.join(usual));
            Ok((setting.read_or_make(&file)?, file))
        };
        Ok(Self {
            jwt: read(JWT, &arguments.jwt_secret_file, "jwt-secret")?,
            crypt: read(CRYPT, &arguments.crypt_secret_file, "crypt-secret")?,
        })
    }

    /// Refuses secrets that are not those this database was used with.
    pub(crate) async fn check(&self, storage: &Storage) -> anyhow::Result<()> {
        JWT.check(storage, &self.jwt.0, &self.jwt.1).await?;
        CRYPT.check(storage, &self.crypt.0, &self.crypt.1).await
    }

    pub(crate) const fn jwt(&self) -> &SecretKeys {
        &self.jwt.0
    }

    pub(crate) const fn crypt(&self) -> &SecretKeys {
        &self.crypt.0
    }
}

impl SecretSetting {
    /// Reads the file, or makes it when there is none.
    fn read_or_make(self, path: &Path) -> anyhow::Result<SecretKeys> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let text = make(path).map_err(|error| {
                    let wrong = format!("names {}, which cannot be made: {error}", path.display());
                    WrongSetting::new(self.setting, &wrong)
                })?;
                self.parse(&text, path)
            }
            _ => self.read(path),
        }
    }

    /// Reads the file, which has to be there.
    pub(crate) fn read(self, path: &Path) -> anyhow::Result<SecretKeys> {
        let text = fs::read_to_string(path).map_err(|error| {
            let wrong = format!("names {}, which cannot be read: {error}", path.display());
            WrongSetting::new(self.setting, &wrong)
        })?;
        self.parse(&text, path)
    }

    fn parse(self, text: &str, path: &Path) -> anyhow::Result<SecretKeys> {
        SecretKeys::parse(text)
            .map_err(|error| WrongSetting::new(self.setting, &format!("names {}, but {error}", path.display())).into())
    }

    /// Refuses a secret that is not the one this database was used with.
    pub(crate) async fn check(self, storage: &Storage, keys: &SecretKeys, path: &Path) -> anyhow::Result<()> {
        let (key, own) = (self.fingerprint, keys.fingerprint().to_string());
        let known = storage
            .transaction(async move |conn: &mut Conn| settings::insert_once(conn, key, &own).await)
            .await
            .context("cannot check the secrets against the database")?;
        if keys.has_fingerprint(&known) {
            return Ok(());
        }
        let wrong = format!(
            "names {}, which is another secret than the one that this database was used with (fingerprint {known}): \
             expected the same file, or one that also holds the old secret",
            path.display()
        );
        Err(WrongSetting::new(self.setting, &wrong).into())
    }

    /// From now on the newest secret is the one that this database is used with.
    pub(crate) async fn know_newest(self, storage: &Storage, keys: &SecretKeys) -> anyhow::Result<()> {
        let (key, own) = (self.fingerprint, keys.fingerprint().to_string());
        storage
            .write(async move |conn: &mut Conn| settings::set(conn, key, &own).await)
            .await
            .context("cannot keep the fingerprint of the newest secret")
    }
}

fn make(path: &Path) -> io::Result<String> {
    let text = SecretKeys::generate_file(&mut rand::rng()).into_inner();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(text)
}
