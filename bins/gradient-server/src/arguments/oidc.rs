//! The settings of the OpenID provider.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use gradient_engine::OidcSettings;
use gradient_worker::WrongSetting;

use super::secret::{self, SecretText};

#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "the fields are the names of the flags")]
#[command(next_help_heading = "Sign-in at an OpenID provider")]
pub(crate) struct OidcArguments {
    /// The OpenID provider, by its issuer or the URL of its discovery document: https, or on this machine. Whoever it lets in gets
    /// an account, also where nobody may register. It has to send browsers back to /api/v1/auth/oidc/callback at the serve URL.
    #[arg(long, env = "GRADIENT_OIDC_DISCOVERY_URL", value_name = "URL")]
    oidc_discovery_url: Option<String>,

    /// Who this server is at the provider.
    #[arg(long, env = "GRADIENT_OIDC_CLIENT_ID", value_name = "ID")]
    oidc_client_id: Option<String>,

    /// What proves it, if the provider gave a secret.
    #[arg(
        long,
        env = "GRADIENT_OIDC_CLIENT_SECRET",
        value_name = "SECRET",
        hide_env_values = true,
        conflicts_with = "oidc_client_secret_file"
    )]
    oidc_client_secret: Option<SecretText>,

    /// A file that holds the client secret.
    #[arg(long, env = "GRADIENT_OIDC_CLIENT_SECRET_FILE", value_name = "FILE")]
    oidc_client_secret_file: Option<PathBuf>,

    /// What to ask the provider for, besides openid, with spaces between. An account needs an address: without the scope email most
    /// providers tell none.
    #[arg(long, env = "GRADIENT_OIDC_SCOPES", value_name = "SCOPES", default_value = "profile email")]
    oidc_scopes: String,

    /// Whether people sign in at the provider only: no passwords, no registration. API keys and sessions go on. Then the first
    /// superuser is made by `user promote`.
    #[arg(long, env = "GRADIENT_OIDC_REQUIRED", value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    pub(crate) oidc_required: bool,
}

impl OidcArguments {
    /// The provider, if there is one.
    pub(crate) fn settings(&self) -> Result<Option<OidcSettings>, WrongSetting> {
        let Some(url) = &self.oidc_discovery_url else {
            return if self.oidc_required {
                let wrong = "is true, but nobody could sign in: set GRADIENT_OIDC_DISCOVERY_URL too";
                Err(WrongSetting::new("GRADIENT_OIDC_REQUIRED", wrong))
            } else {
                Ok(None)
            };
        };
        let client_id = self.oidc_client_id.clone().filter(|id| !id.is_empty()).ok_or_else(|| {
            WrongSetting::new(
                "GRADIENT_OIDC_CLIENT_ID",
                "is not set: expected the id that the OpenID provider gave to this server",
            )
        })?;
        let file = ("GRADIENT_OIDC_CLIENT_SECRET_FILE", self.oidc_client_secret_file.as_deref());
        let secret = secret::read(self.oidc_client_secret.as_ref(), file)?;
        let scopes = self.oidc_scopes.split_whitespace().filter(|scope| *scope != "openid").map(str::to_owned).collect();
        OidcSettings::new(url, client_id, secret, scopes)
            .map(Some)
            .map_err(|wrong| WrongSetting::new("GRADIENT_OIDC_DISCOVERY_URL", &format!("is `{url}`: {wrong}")))
    }
}
