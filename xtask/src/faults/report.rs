//! What came of all runs, by fault.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::plan::Fault;

/// The runs of one fault.
#[derive(Debug, Default)]
struct Row {
    runs: usize,
    broken: usize,
    lost: usize,
    repeated: usize,
    resumed: Option<Duration>,
}

/// All runs so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: BTreeMap<Fault, Row>,
}

/// One run in figures.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) is_broken: bool,
    pub(super) lost: usize,
    pub(super) repeated: usize,
    pub(super) resumed: Option<Duration>,
}

impl Report {
    pub(super) fn add(&mut self, fault: Fault, run: Figures) {
        let row = self.rows.entry(fault).or_default();
        row.runs += 1;
        row.broken += usize::from(run.is_broken);
        row.lost += run.lost;
        row.repeated += run.repeated;
        row.resumed = row.resumed.max(run.resumed);
    }

    /// How many runs there were that ended otherwise than they must.
    pub(super) fn broken(&self) -> usize {
        self.rows.values().map(|row| row.broken).sum()
    }

    /// The table, a line for each fault.
    pub(super) fn table(&self) -> String {
        let mut lines =
            vec![format!("{:<24} {:>5} {:>7} {:>5} {:>7} {:>11}", "fault", "runs", "broken", "lost", "re-run", "s to resume")];
        for (fault, row) in &self.rows {
            let resumed = row.resumed.map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time.as_secs_f64()));
            let Row { runs, broken, lost, repeated, .. } = row;
            lines.push(format!("{:<24} {runs:>5} {broken:>7} {lost:>5} {repeated:>7} {resumed:>11}", fault.name()));
        }
        lines.join("\n")
    }

    /// The sums.
    pub(super) fn json(&self) -> Value {
        let sum = |value: fn(&Row) -> usize| self.rows.values().map(value).sum::<usize>();
        let worst = self.rows.values().filter_map(|row| row.resumed).max().unwrap_or_default();
        json!({
            "runs": sum(|row| row.runs),
            "broken": sum(|row| row.broken),
            "lost": sum(|row| row.lost),
            "worst_resume_s": (worst.as_secs_f64() * 100.0).round() / 100.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_summed_up_by_fault() {
        let mut report = Report::default();
        let run = Figures { repeated: 1, resumed: Some(Duration::from_millis(1234)), ..Figures::default() };
        report.add(Fault::Cut, run);
        report.add(Fault::Cut, Figures { is_broken: true, lost: 2, ..run });
        report.add(Fault::Loss, Figures { resumed: Some(Duration::from_millis(50)), ..Figures::default() });
        assert_eq!(report.broken(), 1);
        assert_eq!(report.json(), json!({"runs": 3, "broken": 1, "lost": 2, "worst_resume_s": 1.23}));
        let table = report.table();
        let cut = table.lines().find(|line| line.starts_with("connections cut")).unwrap();
        assert_eq!(cut.split_whitespace().collect::<Vec<_>>(), ["connections", "cut", "2", "1", "2", "2", "1.2"]);
    }
}
