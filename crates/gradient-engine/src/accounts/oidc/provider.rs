//! The provider, once it was asked who it is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gradient_auth::oidc::{AsyncHttpClient, OidcError, OidcProvider, OidcSettings};
use tokio::sync::Mutex;

use super::http::Http;
use crate::EngineError;

/// How long its description is believed.
const FRESH: Duration = Duration::from_hours(1);

/// A place for the provider, which need not be up when the server starts.
#[derive(Debug)]
pub(crate) struct ProviderSlot {
    settings: OidcSettings,
    http: Http,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    provider: Option<(Arc<OidcProvider>, Instant)>,
    failed: Option<Instant>,
}

impl ProviderSlot {
    pub(crate) fn new(settings: OidcSettings) -> Result<Self, EngineError> {
        Ok(Self { settings, http: Http::new()?, known: Mutex::default() })
    }

    /// Sends requests to it.
    pub(super) fn http(&self) -> impl for<'c> AsyncHttpClient<'c, Error: Send + Sync> + use<> {
        let http = self.http.clone();
        move |request| http.clone().send(request)
    }

    /// The provider as it described itself within the last hour.
    pub(super) async fn get(&self, redirect_url: &str) -> Result<Arc<OidcProvider>, EngineError> {
        let asked = Instant::now();
        // One asks for all who wait meanwhile.
        let mut known = self.known.lock().await;
        if let Some((provider, since)) = &known.provider
            && since.elapsed() < FRESH
        {
            return Ok(Arc::clone(provider));
        }
        if known.failed.is_some_and(|failed| asked <= failed) {
            return Err(OidcError::Unreachable("it did not answer just now".into()).into());
        }
        match OidcProvider::discover(self.settings.clone(), redirect_url.to_owned(), &self.http()).await {
            Ok(provider) => {
                let provider = Arc::new(provider);
                *known = Known { provider: Some((Arc::clone(&provider), Instant::now())), failed: None };
                Ok(provider)
            }
            Err(error) => {
                known.failed = Some(Instant::now());
                Err(error.into())
            }
        }
    }
}
