//! The design's invariants, each as something that must not be found.

use super::is_rust;
use crate::workspace::has_extension;

/// Words that may stand only in some places.
struct Absence {
    /// Any of them in a line of code is a fault.
    words: &'static [&'static str],
    /// Which files are looked at.
    applies: fn(&str) -> bool,
    /// Said after the place.
    rule: &'static str,
}

const ABSENCES: &[Absence] = &[
    Absence {
        words: &["env::var(", "env::var_os(", "env::vars("],
        applies: |path| is_library_code(path),
        rule: "only bins read the environment",
    },
    Absence {
        words: &["StatusCode", "HttpResponse"],
        // The executor is the client of the transfer routes: it reads the status of an answer and never chooses one. The one file
        // of blobs passes on what a bucket's server answers.
        applies: |path| {
            let is_client = in_crate(path, "executor") || path == "crates/gradient-blobs/src/bucket/conditional.rs";
            is_library_code(path) && !in_crate(path, "api") && !is_client
        },
        rule: "only api names a status code",
    },
    Absence {
        words: &["diesel_async::", "sql_query(", "diesel::prelude", "diesel::dsl", "diesel::insert_into", "diesel::update"],
        applies: |path| is_code(path) && !in_crate(path, "storage"),
        rule: "only storage writes queries",
    },
    Absence {
        words: &["diesel::"],
        applies: |path| is_code(path) && !knows_columns(path),
        rule: "only storage, and what maps values to columns, knows the database library",
    },
    Absence {
        words: &["diesel"],
        applies: |path| path.ends_with("/Cargo.toml") && !knows_columns(path),
        rule: "only storage, and what maps values to columns, knows the database library",
    },
    Absence {
        words: &[
            "SystemTime::now",
            "Instant::now",
            "Utc::now",
            "Moment::now(",
            "std::fs::",
            "File::open",
            "std::net::Tcp",
            "std::process::",
        ],
        // `Moment::now` itself is the one door to the clock, for the crates at the edge.
        applies: |path| is_library_code(path) && is_pure(path) && path != "crates/gradient-domain/src/moment.rs",
        rule: "this crate reads no clock, file or socket of its own",
    },
    Absence {
        words: &["tokio", "reqwest"],
        applies: |path| path.ends_with("/Cargo.toml") && is_pure(path),
        rule: "this crate reads no clock, file or socket of its own",
    },
    Absence {
        words: &["\"openssl-sys\"", "\"native-tls\"", "\"aws-lc-sys\"", "\"async-std\"", "\"smol\""],
        applies: |path| path == "Cargo.lock",
        rule: "one TLS stack and one asynchronous runtime",
    },
];

/// Every place where a word stands that must not.
pub(super) fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for absence in ABSENCES.iter().filter(|absence| (absence.applies)(path)) {
        for (number, line) in text.lines().enumerate() {
            let code = without_comment(path, line);
            if let Some(word) = absence.words.iter().find(|word| code.contains(*word)) {
                faults.push(format!("{path}:{}: `{word}`: {}", number + 1, absence.rule));
            }
        }
    }
    faults
}

/// The crates that are rules and formats only.
fn is_pure(path: &str) -> bool {
    ["nix", "domain", "protocol", "scheduler", "cache-protocol"].iter().any(|name| in_crate(path, name))
}

/// Storage, and the crates whose feature `sql` puts a mapping to columns beside the value types.
fn knows_columns(path: &str) -> bool {
    ["storage", "domain", "nix"].iter().any(|name| in_crate(path, name))
}

fn in_crate(path: &str, name: &str) -> bool {
    path.strip_prefix("crates/gradient-").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('/'))
}

/// Rust of the libraries and programs, without tests and xtask.
fn is_code(path: &str) -> bool {
    let is_test =
        path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/benches/");
    is_rust(path) && !is_test && !path.starts_with("xtask/") && !in_crate(path, "test-support")
}

fn is_library_code(path: &str) -> bool {
    is_code(path) && path.starts_with("crates/")
}

fn without_comment<'a>(path: &str, line: &'a str) -> &'a str {
    let mark = if is_rust(path) {
        "//"
    } else if has_extension(path, "toml") {
        "#"
    } else {
        return line;
    };
    match line.find(mark) {
        Some(0) => "",
        // `https://…` is no comment.
        Some(at) if line[..at].ends_with([' ', '\t']) => &line[..at],
        _ => line,
    }
}
