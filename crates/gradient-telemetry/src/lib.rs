//! What a process says about itself: numbers for Prometheus, and `tracing` events on standard error, one line each for a person, or JSON on request.
//!
//! Nothing here reads the environment; a binary passes its settings in, once, before it does anything else.
//!
//! ```
//! use gradient_telemetry::{Format, Settings};
//!
//! let format: Format = "json".parse()?;
//! gradient_telemetry::init(&Settings { format, filter: "info,gradient_engine=debug" })?;
//! tracing::info!(port = 3000, "listening");
//! # Ok::<(), gradient_telemetry::TelemetryError>(())
//! ```

use std::{
    io::{self, IsTerminal},
    str::FromStr,
};

use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::ParseError,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

mod metrics;
mod one_line;

pub use metrics::Metrics;

use one_line::OneLine;

/// What is said and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings<'a> {
    /// The form of an event.
    pub format: Format,
    /// Which events are shown: directives such as `info` or `warn,gradient_engine=debug`.
    pub filter: &'a str,
}

/// The form of an event on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// A line for a person, coloured on a terminal. Whatever the values contain, it stays one line.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Why telemetry could not be started.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The form has another name.
    #[error("the log format is `human` or `json`, not {0:?}")]
    Format(String),
    /// The filter is no list of directives.
    #[error("the log filter {filter:?} is no list of directives such as `info` or `warn,gradient_engine=debug`")]
    Filter {
        /// The text that was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// It was started before, in this process.
    #[error("telemetry is already running in this process")]
    AlreadyRunning,
}

/// Sends this process's events to standard error from now on.
pub fn init(settings: &Settings<'_>) -> Result<(), TelemetryError> {
    subscriber(settings, io::stderr().is_terminal(), io::stderr)?.try_init().map_err(|_| TelemetryError::AlreadyRunning)
}

fn subscriber<W>(settings: &Settings<'_>, on_terminal: bool, writer: W) -> Result<impl Subscriber + Send + Sync, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(settings.filter)
        .map_err(|source| TelemetryError::Filter { filter: settings.filter.to_owned(), source })?;
    let events: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        Format::Human => fmt::layer().with_ansi(on_terminal).with_writer(OneLine(writer)).boxed(),
        Format::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    };
    Ok(Registry::default().with(events.with_filter(filter)))
}

impl FromStr for Format {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(TelemetryError::Format(text.chars().take(80).collect())),
        }
    }
}

#[cfg(test)]
mod tests;
