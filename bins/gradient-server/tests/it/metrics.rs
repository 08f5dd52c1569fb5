//! What Prometheus reads of a running server.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use gradient_test_support::deployment::{DeploymentError, Process, Server, ServerSettings, wait};

use crate::trial::programs;

const LIMIT: Duration = Duration::from_mins(1);

/// The whole answer to a GET, head and body.
fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: gradient\r\nauthorization: Bearer s3cret\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_server_counts_for_prometheus() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = ServerSettings {
        program: programs().server,
        folder: folder.path().join("server"),
        database_url: None,
        hosted_worker: None,
        rate_limits: false,
        environment: Vec::new(),
    };
    let mut command = Server::command(&settings).unwrap();
    command.env("GRADIENT_PORT", port.to_string()).env("GRADIENT_METRICS_TOKEN_FILE", &token);
    let mut process = Process::spawn("gradient-server", &mut command, &folder.path().join("log")).unwrap();
    wait::until("the server to answer", LIMIT, || {
        process.expect_running()?;
        Ok::<_, DeploymentError>(get(port, "/api/v1/health").ok().filter(|answer| answer.starts_with("HTTP/1.1 200")).map(drop))
    })
    .unwrap();
    assert!(get(port, "/cache/none/00000000000000000000000000000000.narinfo").unwrap().starts_with("HTTP/1.1 404"));
    assert!(get(port, "/api/v1/nothing").unwrap().starts_with("HTTP/1.1 40"));

    let answer = get(port, "/metrics").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for line in [
        r#"gradient_http_requests_total{route="/api/v1/health",method="GET",status="2xx"} "#,
        r#"gradient_http_request_duration_seconds_bucket{route="/api/v1/health",method="GET",le="0.25"} "#,
        r#"gradient_http_requests_total{route="/cache/{cache}/{hash}.narinfo",method="GET",status="4xx"} 1"#,
        r#"gradient_cache_requests_total{kind="narinfo",result="miss"} 1"#,
        r#"gradient_builds{state="ready"} 0"#,
        r#"gradient_evaluations{state="active"} 0"#,
        "gradient_workers 0",
        r#"gradient_database_connections{pool="writer",state="free"} "#,
        "process_resident_memory_bytes ",
        "# TYPE gradient_http_request_duration_seconds histogram",
    ] {
        assert!(answer.lines().any(|found| found.starts_with(line)), "{line} is missing in {answer}");
    }
    assert!(!answer.contains("nothing"), "a path that somebody thought of became a label: {answer}");
}
