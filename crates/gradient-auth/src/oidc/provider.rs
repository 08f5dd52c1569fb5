//! A provider that has described itself.

use std::{
    error::Error,
    sync::{Mutex, PoisonError},
};

use gradient_domain::{Moment, Secret};
use openidconnect::{
    AccessToken, AsyncHttpClient, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    DiscoveryError, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, Nonce, OAuth2TokenResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, SubjectIdentifier, TokenResponse, UserInfoError,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreErrorResponseType, CoreIdToken, CoreIdTokenClaims,
        CoreJsonWebKeySet, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreUserInfoClaims,
    },
    http::Request,
};
use rand::CryptoRng;

use super::{OidcError, OidcIdentity, OidcSettings, SignInAttempt, date_time};

/// Signatures that only the provider can make. With the shared secret this server could make them too, and `none` is no signature.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// The longest word of a provider that is passed on.
const MAX_WORD: usize = 100;

type Client = CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// A provider as its discovery document describes it.
#[derive(Debug)]
pub struct OidcProvider {
    settings: OidcSettings,
    redirect_url: RedirectUrl,
    metadata: CoreProviderMetadata,
    /// What it signs with. It changes them when it likes.
    keys: Mutex<CoreJsonWebKeySet>,
}

impl OidcProvider {
    /// Asks the provider for its description and its keys. It is to send browsers back to `redirect_url`.
    pub async fn discover<C>(settings: OidcSettings, redirect_url: String, http: &C) -> Result<Self, OidcError>
    where
        C: for<'c> AsyncHttpClient<'c, Error: Send + Sync>,
    {
        let redirect_url = RedirectUrl::new(redirect_url).map_err(|error| OidcError::Misconfigured(error.to_string()))?;
        let metadata = metadata(&settings, http).await?;
        let keys = CoreJsonWebKeySet::fetch_async(metadata.jwks_uri(), http).await.map_err(undiscovered)?;
        Ok(Self { settings, redirect_url, metadata, keys: Mutex::new(keys) })
    }

    /// Begins to sign in: where to send the browser, and what it has to keep.
    pub fn begin(&self, now: Moment, rng: &mut impl CryptoRng) -> (String, SignInAttempt) {
        let attempt = SignInAttempt::new(now, rng);
        let (state, nonce) = (attempt.state.clone(), attempt.nonce.clone());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(attempt.verifier.clone()));
        let client = self.client();
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let request = client.authorize_url(flow, move || CsrfToken::new(state), move || Nonce::new(nonce));
        let scopes = self.settings.scopes.iter().cloned().map(Scope::new);
        let (url, ..) = request.add_scopes(scopes).set_pkce_challenge(challenge).url();
        (url.into(), attempt)
    }

    /// Who signed in: redeems the code, believes nothing of the ID token that it has not checked, and asks for what is not in it.
    pub async fn redeem<C>(
        &self,
        code: Secret<String>,
        attempt: &SignInAttempt,
        now: Moment,
        http: &C,
    ) -> Result<OidcIdentity, OidcError>
    where
        C: for<'c> AsyncHttpClient<'c, Error: Send + Sync>,
    {
        let client = self.client();
        let request = client.exchange_code(AuthorizationCode::new(code.into_inner())).map_err(misconfigured)?;
        let verifier = PkceCodeVerifier::new(attempt.verifier.clone());
        let tokens = request.set_pkce_verifier(verifier).request_async(http).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(answer) if *answer.error() == CoreErrorResponseType::InvalidGrant => {
                OidcError::BadCode
            }
            RequestTokenError::ServerResponse(answer) => OidcError::Misconfigured(word(answer.error().as_ref())),
            RequestTokenError::Request(error) => OidcError::Unreachable(Box::new(error)),
            RequestTokenError::Parse(error, _) => OidcError::Misconfigured(error.to_string()),
            RequestTokenError::Other(what) => OidcError::Misconfigured(what),
        })?;
        let token = tokens.id_token().ok_or_else(|| OidcError::BadToken("there is no ID token".to_owned()))?;
        let claims = self.claims(token, attempt, now, http).await?;
        let mut identity = identity(&claims);
        if identity.email.is_none() || identity.username.is_none() {
            self.ask_more(&mut identity, tokens.access_token().clone(), http).await?;
        }
        Ok(identity)
    }

    /// The claims of an ID token that the provider signed for this attempt. A key that is not known may be a new one.
    async fn claims<C>(
        &self,
        token: &CoreIdToken,
        attempt: &SignInAttempt,
        now: Moment,
        http: &C,
    ) -> Result<CoreIdTokenClaims, OidcError>
    where
        C: for<'c> AsyncHttpClient<'c, Error: Send + Sync>,
    {
        let verified = match self.verified(token, attempt, now) {
            Err(ClaimsVerificationError::SignatureVerification(_)) => {
                let keys = CoreJsonWebKeySet::fetch_async(self.metadata.jwks_uri(), http).await.map_err(undiscovered)?;
                *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
                self.verified(token, attempt, now)
            }
            verified => verified,
        };
        let claims = verified.map_err(|error| OidcError::BadToken(error.to_string()))?;
        // A token that is for others too has to say that it was made for this server.
        let client = self.settings.client_id.as_str();
        let is_ours = claims.authorized_party().map_or(claims.audiences().len() == 1, |party| party.as_str() == client);
        if is_ours { Ok(claims) } else { Err(OidcError::BadToken("it was made for another client".to_owned())) }
    }

    fn verified(
        &self,
        token: &CoreIdToken,
        attempt: &SignInAttempt,
        now: Moment,
    ) -> Result<CoreIdTokenClaims, ClaimsVerificationError> {
        let client = self.client();
        let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
        let verifier = verifier.set_time_fn(move || date_time(now)).set_other_audience_verifier_fn(|_| true);
        token.claims(&verifier, &Nonce::new(attempt.nonce.clone())).cloned()
    }

    /// Many providers tell name and address only here.
    async fn ask_more<C>(&self, identity: &mut OidcIdentity, access: AccessToken, http: &C) -> Result<(), OidcError>
    where
        C: for<'c> AsyncHttpClient<'c, Error: Send + Sync>,
    {
        let client = self.client();
        let subject = SubjectIdentifier::new(identity.subject.clone());
        // Not every provider has it.
        let Ok(request) = client.user_info(access, Some(subject)) else { return Ok(()) };
        let claims: CoreUserInfoClaims = request.request_async(http).await.map_err(|error| match error {
            UserInfoError::Request(error) => OidcError::Unreachable(Box::new(error)),
            UserInfoError::ClaimsVerification(error) => OidcError::BadToken(error.to_string()),
            other => OidcError::Misconfigured(other.to_string()),
        })?;
        if identity.email.is_none() {
            identity.email = claims.email().and_then(|email| email.as_str().parse().ok());
            identity.email_verified = claims.email_verified().unwrap_or(false);
        }
        identity.username = identity.username.take().or_else(|| claims.preferred_username().map(|name| name.to_string()));
        identity.name =
            identity.name.take().or_else(|| claims.name().and_then(|name| name.get(None)).map(|name| name.to_string()));
        Ok(())
    }

    fn client(&self) -> Client {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let secret = self.settings.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().clone()));
        let id = ClientId::new(self.settings.client_id.clone());
        let client = CoreClient::from_provider_metadata(self.metadata.clone().set_jwks(keys), id, secret);
        client.set_auth_type(self.auth_type()).set_redirect_uri(self.redirect_url.clone())
    }

    /// How this server proves who it is: in a header, as every provider takes it that does not say otherwise.
    fn auth_type(&self) -> AuthType {
        match self.metadata.token_endpoint_auth_methods_supported() {
            Some(methods) if !methods.contains(&CoreClientAuthMethod::ClientSecretBasic) => AuthType::RequestBody,
            _ => AuthType::BasicAuth,
        }
    }
}

/// The discovery document, which has to be the named issuer's own; whether that ends in a slash is its business.
async fn metadata<C>(settings: &OidcSettings, http: &C) -> Result<CoreProviderMetadata, OidcError>
where
    C: for<'c> AsyncHttpClient<'c, Error: Send + Sync>,
{
    let request: HttpRequest = Request::get(settings.discovery_url()).body(Vec::new()).map_err(misconfigured)?;
    let answer = http.call(request).await.map_err(|error| OidcError::Unreachable(Box::new(error)))?;
    if answer.status().as_u16() != 200 {
        return Err(OidcError::Misconfigured(format!("{} answers {}", settings.discovery_url(), answer.status())));
    }
    let metadata: CoreProviderMetadata = serde_json::from_slice(answer.body()).map_err(misconfigured)?;
    let issuer = metadata.issuer().as_str();
    if issuer.trim_end_matches('/') == settings.issuer {
        Ok(metadata)
    } else {
        Err(OidcError::Misconfigured(format!("{} describes another issuer", settings.discovery_url())))
    }
}

fn identity(claims: &CoreIdTokenClaims) -> OidcIdentity {
    OidcIdentity {
        issuer: claims.issuer().to_string(),
        subject: claims.subject().to_string(),
        email: claims.email().and_then(|email| email.as_str().parse().ok()),
        email_verified: claims.email_verified().unwrap_or(false),
        username: claims.preferred_username().map(|name| name.to_string()),
        name: claims.name().and_then(|name| name.get(None)).map(|name| name.to_string()),
    }
}

fn undiscovered<E: Error + Send + Sync + 'static>(error: DiscoveryError<E>) -> OidcError {
    match error {
        DiscoveryError::Request(error) => OidcError::Unreachable(Box::new(error)),
        other => OidcError::Misconfigured(other.to_string()),
    }
}

fn misconfigured(error: impl Error) -> OidcError {
    OidcError::Misconfigured(error.to_string())
}

/// A provider's own word, such as `access_denied`, without anything that is none.
pub(super) fn word(text: &str) -> String {
    text.chars().filter(|&c| c.is_ascii_alphanumeric() || c == '_').take(MAX_WORD).collect()
}
