//! The figures, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Options, Results};

pub(super) fn table(results: &Results, options: &Options) -> String {
    let mut text = format!(
        "\n{}: {} builds, taken in within {:.1} s; {} connections, {} s each; peak RSS {} MiB\n",
        results.database.name(),
        options.builds,
        results.taking_in.as_secs_f64(),
        options.connections,
        options.seconds,
        results.peak_rss >> 20,
    );
    let _ = writeln!(
        text,
        "{:<16} {:>10} {:>9} {:>9} {:>9} {:>12} {:>10}",
        "endpoint", "requests/s", "p50 ms", "p99 ms", "max ms", "CPU ms/req", "bytes"
    );
    for (name, measured) in &results.endpoints {
        let _ = writeln!(
            text,
            "{name:<16} {:>10.0} {:>9.2} {:>9.2} {:>9.2} {:>12.3} {:>10}",
            measured.per_second,
            milliseconds(measured.p50),
            milliseconds(measured.p99),
            milliseconds(measured.max),
            milliseconds(measured.cpu),
            measured.bytes,
        );
    }
    text
}

/// `{"sqlite": {"page_p99_ms": …}, "postgres": {…}}`
pub(super) fn json(all: &[Results]) -> Value {
    let of_database = |results: &Results| {
        let endpoints = results.endpoints.iter();
        let fields = endpoints.map(|(name, measured)| (format!("{name}_p99_ms"), json!(milliseconds(measured.p99))));
        (results.database.name().to_owned(), Value::Object(fields.collect()))
    };
    Value::Object(all.iter().map(of_database).collect::<Map<_, _>>())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
