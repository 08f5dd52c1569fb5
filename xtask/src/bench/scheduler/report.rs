//! The figures, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::baselines::Baseline;
use super::cases::{HISTORIES, Scored};
use super::remains::Remains;
use super::shares::Shares;
use super::small::Small;
use super::speed::Speed;
use crate::bench::figures::number;

/// All that was measured.
pub(super) struct Report {
    pub(super) scored: Vec<Scored>,
    pub(super) small: Small,
    pub(super) shares: Shares,
    pub(super) speeds: Vec<Speed>,
    pub(super) remains: Remains,
}

impl Report {
    pub(super) fn text(&self) -> String {
        let mut text =
            format!("\nmakespan by the lower bound, {} traces{:>25} {:>7} {:>7}\n", self.scored.len(), "mean", "p95", "worst");
        for (at, known) in HISTORIES.iter().enumerate() {
            let name = format!("Gradient, {:.0} % of the packages known", known * 100.0);
            let _ = writeln!(text, "{name:<48} {}", Summary::of(self.scored.iter().map(|scored| scored.production[at])));
        }
        for (at, baseline) in Baseline::ALL.iter().enumerate() {
            let ratios = self.scored.iter().map(|scored| scored.baselines[at]);
            let _ = writeln!(text, "{:<48} {}", baseline.name(), Summary::of(ratios));
        }
        let mut pressures: Vec<f64> = self.scored.iter().map(|scored| scored.pressure).collect();
        pressures.sort_by(f64::total_cmp);
        pressures.dedup();
        for pressure in pressures {
            let ratios = self.scored.iter().filter(|scored| scored.pressure.total_cmp(&pressure).is_eq());
            let name = format!("Gradient, all known, work by path {pressure}");
            let _ = writeln!(text, "{name:<48} {}", Summary::of(ratios.map(|scored| scored.production[0])));
        }
        let solved = format!("by the best schedule of {} small graphs", self.small.ratios.len());
        let _ = writeln!(text, "{solved:<48} {}", Summary::of(self.small.ratios.iter().copied()));
        let _ = writeln!(text, "small graphs that take longer with one slot more: {}", self.small.anomalies);
        if let Some(worst) = self.scored.iter().max_by(|a, b| a.production[0].total_cmp(&b.production[0])) {
            let _ = writeln!(text, "the worst: work by path {}, {}", worst.pressure, worst.label);
        }
        let _ = writeln!(text, "\nwork conservation, worst: {:.4}", self.conservation());
        let [told, blind] = [0, 1].map(|at| self.scored.iter().map(|scored| scored.fetched[at]).sum::<u64>());
        let _ = writeln!(
            text,
            "fetched by machines: {:.1} GB, {:.3} of what it is when sizes are unknown",
            number(told) / 1e9,
            number(told) / number(blind)
        );
        let flow = Summary::of(self.scored.iter().map(|scored| scored.flow));
        let _ = writeln!(text, "time of an evaluation, mean: {:.0} s", flow.mean);
        let _ = writeln!(text, "Jain's index of four organizations: {:.4}", self.shares.jain);
        let _ = writeln!(text, "20 builds behind another's backlog wait for {:.2} median build times", self.shares.wait);
        for speed in &self.speeds {
            let _ = writeln!(text, "{}", speed.line());
        }
        let _ = writeln!(text, "{}", self.remains.line());
        text
    }

    pub(super) fn json(&self) -> Value {
        let ratios = |at: usize| Summary::of(self.scored.iter().map(|scored| scored.production[at]));
        let largest = self.speeds.last();
        json!({
            "mean_ratio": ratios(0).mean,
            "worst_ratio": ratios(0).worst,
            "mean_ratio_missing_history": ratios(1).mean,
            "work_conservation": self.conservation(),
            "decisions_per_s": largest.map_or(f64::NAN, |speed| speed.decisions_per_second),
            "bytes_per_build": largest.and_then(|speed| speed.bytes_per_build),
        })
    }

    fn conservation(&self) -> f64 {
        self.scored.iter().map(|scored| scored.conservation).fold(1.0, f64::min)
    }
}

/// Some ratios in three.
struct Summary {
    mean: f64,
    p95: f64,
    worst: f64,
}

impl Summary {
    fn of(ratios: impl Iterator<Item = f64>) -> Self {
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        let count = u64::try_from(ratios.len()).unwrap_or(u64::MAX);
        let at = |place: usize| ratios.get(place).copied().unwrap_or(f64::NAN);
        Self {
            mean: ratios.iter().sum::<f64>() / number(count),
            p95: at((ratios.len() * 95).div_ceil(100).saturating_sub(1)),
            worst: at(ratios.len().saturating_sub(1)),
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>7.3} {:>7.3} {:>7.3}", self.mean, self.p95, self.worst)
    }
}
