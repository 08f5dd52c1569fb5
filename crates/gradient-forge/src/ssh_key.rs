//! SSH keys with which an organization reaches its private repositories.

use ::ssh_key::{
    LineEnding, PrivateKey,
    private::{Ed25519Keypair, KeypairData},
};
use gradient_domain::Secret;
use rand::Rng;
use thiserror::Error;

/// A fresh key in both halves.
#[derive(Debug, Clone)]
pub struct SshKeyPair {
    /// `ssh-ed25519 <base64> <comment>`, without a newline: what is entered at the forge.
    pub public_line: String,
    /// The private key in OpenSSH's format, not encrypted.
    pub private_openssh: Secret<String>,
}

/// The key could not be written down.
#[derive(Debug, Error)]
#[error("the SSH key cannot be written")]
pub struct SshKeyError(#[source] ::ssh_key::Error);

/// Makes an Ed25519 key. Characters that would end the line are left out of the comment.
pub fn generate(comment: &str) -> Result<SshKeyPair, SshKeyError> {
    let comment: String = comment.chars().filter(|c| !c.is_control()).take(255).collect();
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
    let key = PrivateKey::new(pair, comment).map_err(SshKeyError)?;
    Ok(SshKeyPair {
        public_line: key.public_key().to_openssh().map_err(SshKeyError)?,
        private_openssh: Secret::new(key.to_openssh(LineEnding::LF).map_err(SshKeyError)?.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_belong_together() {
        let pair = generate("acme@gradient\nssh-rsa forged").unwrap();
        let private = PrivateKey::from_openssh(pair.private_openssh.expose()).unwrap();
        assert_eq!(private.public_key().to_openssh().unwrap(), pair.public_line);
        assert!(pair.public_line.ends_with(" acme@gradientssh-rsa forged"), "{}", pair.public_line);
        assert_eq!(pair.public_line.lines().count(), 1);
        assert!(!format!("{pair:?}").contains("PRIVATE"));
        assert_ne!(generate("acme").unwrap().public_line, generate("acme").unwrap().public_line);
    }
}
