//! The table of section 2 of the design: which crate may use which. Names without the prefix `gradient-`.

/// Builds what tests need; only tests use it.
pub(super) const TEST_SUPPORT: &str = "test-support";

/// The two programs.
pub(super) const BINARIES: &[&str] = &["gradient-server", "gradient-worker"];

const SERVER: &[&str] = &[
    "nix",
    "nix-daemon",
    "domain",
    "protocol",
    "storage",
    "blobs",
    "auth",
    "cache-protocol",
    "scheduler",
    "forge",
    "engine",
    "api",
    "executor",
    "telemetry",
    // For `gradient-server --with-worker`.
    "gradient-worker",
];

/// The worker never sees SQL or a password.
const WORKER: &[&str] = &["nix", "nix-daemon", "domain", "protocol", "executor", "telemetry"];

/// The crates that `from` may use directly; nothing when it is not on the table.
pub(super) fn may_use(from: &str) -> Option<&'static [&'static str]> {
    Some(match from {
        "nix" | "telemetry" | TEST_SUPPORT => &[],
        "nix-daemon" | "domain" | "blobs" => &["nix"],
        "protocol" | "storage" | "cache-protocol" => &["domain", "nix"],
        "auth" | "scheduler" | "forge" => &["domain"],
        "engine" => &["scheduler", "forge", "storage", "blobs", "auth", "cache-protocol", "protocol", "domain", "nix"],
        "api" => &["engine", "auth", "cache-protocol", "protocol", "domain", "nix"],
        "executor" => &["protocol", "nix-daemon", "nix", "domain"],
        "gradient-server" => SERVER,
        "gradient-worker" => WORKER,
        // The demonstration drives the programs as a user does, with what the end-to-end tests use too; the stub worker of the
        // benchmarks speaks the worker protocol, and one of them drives the scheduler in simulated worlds.
        "xtask" => &[TEST_SUPPORT, "protocol", "scheduler", "domain", "nix"],
        _ => return None,
    })
}
