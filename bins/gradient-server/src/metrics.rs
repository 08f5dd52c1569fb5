//! Numbers for Prometheus, when there is a token for those who may read them.

use std::{fs, path::Path, time::Duration};

use gradient_api::MetricsAccess;
use gradient_telemetry::Metrics;
use gradient_worker::WrongSetting;

/// How often what was counted is put in order.
const TIDY_UP: Duration = Duration::from_secs(5);

/// Counts from now on, for the bearer of the token in this file.
pub(crate) fn start(file: &Path) -> anyhow::Result<MetricsAccess> {
    let wrong = |what: &str| WrongSetting::new("GRADIENT_METRICS_TOKEN_FILE", &format!("names {}, which {what}", file.display()));
    let token = fs::read_to_string(file).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    let token = token.trim();
    if token.is_empty() {
        return Err(wrong("is empty").into());
    }
    let metrics = Metrics::start()?;
    let counted = metrics.clone();
    tokio::spawn(async move {
        let mut rounds = tokio::time::interval(TIDY_UP);
        loop {
            rounds.tick().await;
            counted.tidy_up();
        }
    });
    Ok(MetricsAccess::new(token, move || metrics.render()))
}
