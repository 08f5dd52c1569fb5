//! The certificate that the server shows, which can change while it runs.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use thiserror::Error;

/// A certificate and its key. Clones share it: what replaces it is shown to every client that connects from then on.
#[derive(Debug, Clone)]
pub struct Certificate(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    cryptography: Arc<CryptoProvider>,
    key: RwLock<Arc<CertifiedKey>>,
}

/// Why a certificate cannot be shown.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The text has none.
    #[error("there is no certificate in it; it begins with `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// The text has none, or one that is encrypted.
    #[error("there is no private key in it; it begins with `-----BEGIN PRIVATE KEY-----`, and has no passphrase")]
    NoKey(#[source] pem::Error),
    /// It begins like a certificate or a key and goes on otherwise.
    #[error("it is not PEM: {0}")]
    Damaged(#[source] pem::Error),
    /// The key is of another certificate, or of a kind that is not known.
    #[error("certificate and key do not fit: {0}")]
    Unfit(#[source] rustls::Error),
}

impl Certificate {
    /// Reads a certificate, followed by those that vouch for it, and its key, both PEM.
    pub fn parse(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let cryptography = Arc::new(ring::default_provider());
        let key = RwLock::new(certified(chain, key, &cryptography)?);
        Ok(Self(Arc::new(Shown { cryptography, key })))
    }

    /// Shows another one from now on. When it cannot be read, nothing changes.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let key = certified(chain, key, &self.0.cryptography)?;
        *self.0.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    /// TLS 1.2 and 1.3 with this certificate.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, rustls::Error> {
        let config = ServerConfig::builder_with_provider(self.0.cryptography.clone()).with_safe_default_protocol_versions()?;
        Ok(config.with_no_client_auth().with_cert_resolver(self.0.clone()))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn certified(chain: &[u8], key: &[u8], cryptography: &CryptoProvider) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(CertificateError::Damaged)?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateError::NoKey(error),
        error => CertificateError::Damaged(error),
    })?;
    CertifiedKey::from_der(chain, key, cryptography).map(Arc::new).map_err(CertificateError::Unfit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_shown_is_refused_and_changes_nothing() {
        let (chain, key) = made();
        let (other_chain, other_key) = made();
        let certificate = Certificate::parse(chain.as_bytes(), key.as_bytes()).unwrap();
        let shown = || certificate.0.key.read().unwrap().cert.clone();
        let first = shown();
        let refused = |chain: &str, key: &str| certificate.replace(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string();
        assert!(refused("", &key).contains("no certificate"));
        assert!(refused(&chain, "").contains("no private key"));
        assert!(refused(&chain, &chain).contains("no private key"));
        assert!(refused(&chain[..chain.len() / 2], &key).contains("not PEM"));
        assert!(refused(&chain, &other_key).contains("do not fit"));
        assert_eq!(shown(), first);
        certificate.replace(other_chain.as_bytes(), other_key.as_bytes()).unwrap();
        assert_ne!(shown(), first);
    }
}
