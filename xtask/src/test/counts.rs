//! How many tests passed and failed, read from what the test runners print.

/// Passed and failed tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

impl Counts {
    /// Adds what a line of output says, if it is a closing line of nextest
    /// (`Summary [ 1.2s] 9 tests run: 8 passed (1 slow), 1 failed, 2 skipped`) or of cargo's own runner
    /// (`test result: ok. 9 passed; 0 failed; …`).
    pub(super) fn read(&mut self, line: &str) {
        let line = line.trim_start();
        let is_summary = line.starts_with("Summary [") && line.contains("tests run:") || line.contains("test run:");
        if !is_summary && !line.starts_with("test result: ") {
            return;
        }
        let text = line.split_once("run:").map_or(line, |(_, rest)| rest);
        let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches([',', ';', '.', '(', ')'])).collect();
        for pair in words.windows(2) {
            let [number, what] = pair else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match *what {
                "passed" => self.passed += number,
                // nextest tells tests that ran too long, or whose process could not start, apart.
                "failed" | "timed" | "exec" => self.failed += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, passed: u64, failed: u64) {
        let mut counts = Counts::default();
        counts.read(line);
        assert_eq!(counts, Counts { passed, failed }, "{line}");
    }

    #[test]
    fn closing_lines_are_counted() {
        check("     Summary [   1.234s] 9 tests run: 9 passed, 0 skipped", 9, 0);
        check("     Summary [   1.234s] 1 test run: 1 passed, 0 skipped", 1, 0);
        check("     Summary [  61.0s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 3 skipped", 9, 3);
        check("     Summary [  61.0s] 7/12 tests run: 6 passed, 1 exec failed, 3 skipped", 6, 1);
        check("test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s", 3, 2);
    }

    #[test]
    fn other_lines_are_not() {
        check("test it::works ... ok", 0, 0);
        check("printed: 3 passed", 0, 0);
    }
}
