//! The settings of TLS.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use gradient_api::{Certificate, CertificateError};
use gradient_worker::WrongSetting;

const CERTIFICATE: &str = "GRADIENT_TLS_CERTIFICATE_FILE";
const KEY: &str = "GRADIENT_TLS_KEY_FILE";

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArguments {
    /// A file with the server's certificate, followed by those that vouch for it (PEM). With one, the server speaks HTTPS and
    /// nothing else, with HTTP/2. SIGHUP makes the server read both files again.
    #[arg(long, env = "GRADIENT_TLS_CERTIFICATE_FILE", value_name = "FILE")]
    tls_certificate_file: Option<PathBuf>,

    /// A file with the key of that certificate (PEM), without a passphrase.
    #[arg(long, env = "GRADIENT_TLS_KEY_FILE", value_name = "FILE")]
    tls_key_file: Option<PathBuf>,
}

/// What is in the files.
struct Pair {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl TlsArguments {
    /// The certificate, if there is one.
    pub(crate) fn certificate(&self) -> Result<Option<Certificate>, WrongSetting> {
        let Some(Pair { chain, key }) = self.read()? else { return Ok(None) };
        Certificate::parse(&chain, &key).map(Some).map_err(|error| self.wrong(&error))
    }

    /// Reads the files again. When that fails, nothing changes.
    pub(crate) fn read_again(&self, certificate: &Certificate) -> Result<(), WrongSetting> {
        let Some(Pair { chain, key }) = self.read()? else { return Ok(()) };
        certificate.replace(&chain, &key).map_err(|error| self.wrong(&error))
    }

    fn read(&self) -> Result<Option<Pair>, WrongSetting> {
        match (&self.tls_certificate_file, &self.tls_key_file) {
            (Some(chain), Some(key)) => Ok(Some(Pair { chain: read(CERTIFICATE, chain)?, key: read(KEY, key)? })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(WrongSetting::new(KEY, &format!("is not set, but {CERTIFICATE} is: set both"))),
            (None, Some(_)) => Err(WrongSetting::new(CERTIFICATE, &format!("is not set, but {KEY} is: set both"))),
        }
    }

    fn wrong(&self, error: &CertificateError) -> WrongSetting {
        let (setting, file) = match error {
            CertificateError::NoKey(_) | CertificateError::Unfit(_) => (KEY, &self.tls_key_file),
            CertificateError::NoCertificate | CertificateError::Damaged(_) => (CERTIFICATE, &self.tls_certificate_file),
        };
        let file = file.as_deref().unwrap_or(Path::new("")).display();
        WrongSetting::new(setting, &format!("names {file}, which cannot be used: {error}"))
    }
}

fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, WrongSetting> {
    fs::read(file)
        .map_err(|error| WrongSetting::new(setting, &format!("names {}, which cannot be read: {error}", file.display())))
}
