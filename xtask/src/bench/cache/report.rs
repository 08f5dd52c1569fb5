//! The figures, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::wrk::Measured;
use super::{GRADIENT, Kind, NGINX_AT, Options, Results};
use crate::bench::figures::mib;

pub(super) fn tables(results: &Results, options: &Options) -> String {
    let mut text = format!(
        "\n{} rounds of {} s; ratios to nginx; peak RSS of the server {} MiB\n",
        options.rounds,
        options.seconds,
        results.peak_rss >> 20
    );
    for (kind, measured) in &results.kinds {
        let connections = kind.load(options).connections;
        let _ = writeln!(
            text,
            "\n{:<28} {:>10} {:>7} {:>8} {:>8} {:>8} {:>11} {:>6}",
            format!("{}, {connections} conn.", kind.name()),
            "requests/s",
            "ratio",
            "MiB/s",
            "p50 ms",
            "p99 ms",
            "CPU µs/req",
            "ratio"
        );
        let Some(nginx) = measured.get(NGINX_AT) else { continue };
        for (server, measured) in results.servers.iter().zip(measured) {
            let _ = writeln!(
                text,
                "{server:<28} {:>10.0} {:>7.2} {:>8.0} {:>8.3} {:>8.3} {:>11.1} {:>6.2}",
                measured.per_second(),
                measured.per_second() / nginx.per_second(),
                measured.mib_per_second(),
                measured.p50(),
                measured.p99(),
                measured.cpu_per_request(),
                measured.cpu_per_request() / nginx.cpu_per_request(),
            );
        }
    }
    text
}

pub(super) fn json(results: &Results) -> Value {
    let of = |wanted: Kind, at: usize, figure: fn(&Measured) -> f64| {
        let measured = results.kinds.iter().find(|(kind, _)| *kind == wanted).and_then(|(_, servers)| servers.get(at));
        measured.map_or(f64::NAN, figure)
    };
    let ratio = |kind, figure| of(kind, GRADIENT, figure) / of(kind, NGINX_AT, figure);
    json!({
        "narinfo_hit_cpu_ratio": ratio(Kind::NarinfoHit, Measured::cpu_per_request),
        "narinfo_hit_rps_ratio": ratio(Kind::NarinfoHit, Measured::per_second),
        "narinfo_miss_cpu_ratio": ratio(Kind::NarinfoMiss, Measured::cpu_per_request),
        "small_nar_cpu_ratio": ratio(Kind::SmallNar, Measured::cpu_per_request),
        "small_nar_p50_ms": of(Kind::SmallNarAlone, GRADIENT, Measured::p50),
        "large_nar_throughput_ratio": ratio(Kind::LargeNar, Measured::mib_per_second),
        "peak_rss_mib": mib(results.peak_rss),
    })
}
