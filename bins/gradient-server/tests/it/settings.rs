//! Wrong and missing settings.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use gradient_test_support::deployment::{Process, Server, ServerSettings};

use crate::trial::programs;

/// Wrong settings are noticed before anything else happens.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs a program with these settings and nothing else, and requires one sentence that names the setting, and code 2.
fn check(mut command: Command, settings: &[(&str, &str)], named: &str) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", folder.path()).current_dir(folder.path());
    command.env("GRADIENT_BASE_DIR", folder.path().join("server")).env("GRADIENT_WORKER_BASE_DIR", folder.path().join("worker"));
    // Not the one that it listens on by default: others may do so already.
    command.env("GRADIENT_PORT", "0").envs(settings.iter().copied()).stdin(Stdio::null());
    let mut process = Process::spawn("a program with wrong settings", &mut command, &log).unwrap();
    let status = process.wait(LIMIT).unwrap();
    let output = process.log_tail();
    assert_eq!(status.code(), Some(2), "{settings:?}: {output}");
    assert!(output.contains(named), "{settings:?}: {output}");
    assert!(output.trim_end().lines().count() <= 1, "{settings:?}: {output}");
}

#[test]
fn the_server_names_the_setting_that_is_wrong() {
    for (name, value) in [
        ("GRADIENT_PORT", "many"),
        ("GRADIENT_LISTEN_ADDR", "nowhere"),
        ("GRADIENT_DATABASE_URL", "gradient.db"),
        ("GRADIENT_DATABASE_URL", "mysql://localhost/gradient"),
        ("GRADIENT_ENABLE_REGISTRATION", "perhaps"),
        ("GRADIENT_JWT_SECRET_FILE", "/nonexistent/secret"),
    ] {
        check(Command::new(programs().server), &[(name, value)], name);
    }
}

#[test]
fn settings_that_only_make_sense_together_are_named() {
    let (host, from) = (("GRADIENT_SMTP_HOST", "mail.example.com"), ("GRADIENT_SMTP_FROM", "ci@example.com"));
    let provider = ("GRADIENT_OIDC_DISCOVERY_URL", "https://id.example.com");
    let client = ("GRADIENT_OIDC_CLIENT_ID", "gradient");
    let (bucket, key) = (("GRADIENT_S3_BUCKET", "blobs"), ("GRADIENT_S3_ACCESS_KEY_ID", "id"));
    let secret = ("GRADIENT_S3_SECRET_ACCESS_KEY", "secret");
    let certificate = ("GRADIENT_TLS_CERTIFICATE_FILE", "/dev/null");
    for (settings, named) in [
        (&[("GRADIENT_FRONTEND_URL", "pages")][..], "GRADIENT_FRONTEND_URL"),
        (&[("GRADIENT_REQUIRE_EMAIL_VERIFICATION", "true")], "GRADIENT_REQUIRE_EMAIL_VERIFICATION"),
        (&[host], "GRADIENT_SMTP_FROM"),
        (&[host, ("GRADIENT_SMTP_FROM", "ci")], "GRADIENT_SMTP_FROM"),
        (&[host, from, ("GRADIENT_SMTP_TLS", "perhaps")], "GRADIENT_SMTP_TLS"),
        (&[host, from, ("GRADIENT_SMTP_USERNAME", "ci")], "GRADIENT_SMTP_USERNAME"),
        (&[host, from, ("GRADIENT_SMTP_PASSWORD", "x")], "GRADIENT_SMTP_USERNAME"),
        (&[host, from, ("GRADIENT_SMTP_PASSWORD_FILE", "/nonexistent/x")], "GRADIENT_SMTP_PASSWORD_FILE"),
        (&[("GRADIENT_OIDC_REQUIRED", "true")], "GRADIENT_OIDC_REQUIRED"),
        (&[provider], "GRADIENT_OIDC_CLIENT_ID"),
        (&[client, ("GRADIENT_OIDC_DISCOVERY_URL", "http://id.example.com")], "GRADIENT_OIDC_DISCOVERY_URL"),
        (&[client, provider, ("GRADIENT_OIDC_CLIENT_SECRET_FILE", "/nonexistent/x")], "GRADIENT_OIDC_CLIENT_SECRET_FILE"),
        (&[("GRADIENT_TLS_KEY_FILE", "/nonexistent/x")], "GRADIENT_TLS_CERTIFICATE_FILE"),
        (&[("GRADIENT_TLS_CERTIFICATE_FILE", "/nonexistent/x")], "GRADIENT_TLS_KEY_FILE"),
        (&[certificate, ("GRADIENT_TLS_KEY_FILE", "/nonexistent/x")], "GRADIENT_TLS_KEY_FILE"),
        (&[key], "GRADIENT_S3_BUCKET"),
        (&[bucket], "GRADIENT_S3_ACCESS_KEY_ID"),
        (&[bucket, key], "GRADIENT_S3_SECRET_ACCESS_KEY_FILE"),
        (&[bucket, key, secret, ("GRADIENT_S3_ENDPOINT", "s3.example.com")], "GRADIENT_S3_ENDPOINT"),
        (&[bucket, key, secret, ("GRADIENT_S3_PRESIGN", "perhaps")], "GRADIENT_S3_PRESIGN"),
    ] {
        check(Command::new(programs().server), settings, named);
    }
}

#[test]
fn the_worker_names_the_setting_that_is_wrong_or_missing() {
    let url = ("GRADIENT_WORKER_SERVER_URL", "ws://127.0.0.1:1/proto");
    check(Command::new(programs().worker), &[], "GRADIENT_WORKER_SERVER_URL");
    check(Command::new(programs().worker), &[("GRADIENT_WORKER_SERVER_URL", "ftp://x/")], "GRADIENT_WORKER_SERVER_URL");
    for (name, value) in [
        ("GRADIENT_WORKER_ID", "build-01"),
        ("GRADIENT_WORKER_MAX_CONCURRENT_BUILDS", "-1"),
        ("GRADIENT_WORKER_CAPABILITIES_BUILD", "perhaps"),
        ("GRADIENT_WORKER_PEERS_FILE", "/nonexistent/peers"),
    ] {
        check(Command::new(programs().worker), &[url, (name, value)], name);
    }
}

#[test]
fn the_secrets_are_made_for_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings {
        program: programs().server,
        folder: folder.path().to_path_buf(),
        database_url: None,
        hosted_worker: None,
        rate_limits: false,
        environment: Vec::new(),
    };
    let mut server = Server::start(&settings).unwrap();
    assert!(server.process().stop(LIMIT).unwrap().success());
    let secrets: Vec<_> = std::fs::read_dir(folder.path().join("state"))
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.file_name().to_string_lossy().contains("secret"))
        .collect();
    assert_eq!(secrets.len(), 2, "{secrets:?}");
    for secret in &secrets {
        assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{secret:?}");
    }

    // Another secret than the one that sealed the database is noticed.
    for secret in &secrets {
        let path = secret.path();
        let kept = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut command = Server::command(&settings).unwrap();
        let log = folder.path().join("again.log");
        let mut process = Process::spawn("a server with a wrong secret", &mut command, &log).unwrap();
        let status = process.wait(LIMIT).unwrap();
        assert!(!status.success(), "{}", process.log_tail());
        std::fs::write(&path, kept).unwrap();
    }
}
