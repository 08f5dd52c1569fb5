//! The real server among clients that mean it ill: thousands that are slow, and some that never end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gradient_test_support::deployment::{Api, DeploymentError, Server, ServerSettings, wait};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::trial::{LIMIT, programs};

/// How long the server gives its clients, in seconds.
const PATIENCE: u64 = 5;

/// How many connections hang at the same time.
const SLOW: usize = 10_000;

/// Files that this test needs for other things than connections.
const OTHER_FILES: u64 = 200;

/// How fast a request has to be answered that has nothing to do with them.
const PROMPT: Duration = Duration::from_secs(3);

/// The memory that the server may have for each hanging connection, and for everything else, in bytes. All bodies together have
/// 64 MiB; buffers that grow, and what the allocator keeps of them, come on top. Unbounded, they would be more than 400 MiB.
const MEMORY_PER_CONNECTION: u64 = 40 << 10;
const MEMORY: u64 = 350 << 20;

fn start(folder: &tempfile::TempDir) -> Server {
    let settings = ServerSettings {
        program: programs().server,
        folder: folder.path().to_path_buf(),
        database_url: None,
        hosted_worker: None,
        rate_limits: false,
        environment: vec![("GRADIENT_REQUEST_TIMEOUT_SECS", PATIENCE.to_string())],
    };
    Server::start(&settings).expect("the server starts")
}

/// Raises this process's limit of open files; how many connections can hang then.
fn possible_connections() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let files = if raised { maximum } else { current }.unwrap_or(u64::MAX);
    // The server, which inherits the limit, needs two for each.
    let possible = usize::try_from(files.saturating_sub(OTHER_FILES).max(2) / 2).unwrap_or(usize::MAX).min(SLOW);
    if possible < SLOW {
        eprintln!("only {possible} slow connections instead of {SLOW}: no more open files are allowed");
    }
    possible
}

fn connect(server: &Server) -> TcpStream {
    let address = server.url().trim_start_matches("http://");
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// The memory that a process has now, in bytes.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") << 10
}

fn expect_prompt_answers(api: &Api) -> Result<(), DeploymentError> {
    for _ in 0..20 {
        let started = Instant::now();
        api.get("/health")?;
        assert!(started.elapsed() < PROMPT, "an answer took {:?}", started.elapsed());
    }
    Ok(())
}

/// Whether the other side has ended the connection; what it says before that is read.
fn has_ended(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
}

#[test]
fn thousands_of_slow_clients_do_not_keep_others_waiting() {
    let count = possible_connections();
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(&folder);
    let (api, process) = (server.api(), server.process().id());
    let before = memory(process);

    // Each kind of client holds back something else: everything, the rest of a head, of a second head, of a body, of a body that
    // nobody reads.
    let kinds: [&[u8]; 5] = [
        b"",
        b"GET /api/v1/health HTTP/1.1\r\nhost: a\r\nx-slow: ",
        b"GET /api/v1/health HTTP/1.1\r\nhost: a\r\n\r\nGET /api/v1/health HTTP/1.1\r\nx-slow: ",
        b"POST /api/v1/auth/check-username HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n{\"username\": \"",
        b"POST /api/v1/health HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ];
    let mut slow: Vec<TcpStream> = (0..count).map(|_| connect(&server)).collect();
    for (stream, kind) in slow.iter_mut().zip(kinds.iter().cycle()) {
        // The earliest ones may have been ended already on a slow machine.
        let _ = stream.write_all(kind);
        stream.set_nonblocking(true).expect("a socket");
    }
    expect_prompt_answers(&api).expect("answers");
    let hanging = memory(process).saturating_sub(before);
    let allowed = MEMORY_PER_CONNECTION * u64::try_from(count).expect("a small number");
    eprintln!("{count} slow connections: {} KiB each, {} MiB in all", (hanging >> 10) / count as u64, memory(process) >> 20);
    assert!(hanging < allowed, "{hanging} bytes for {count} connections");
    assert!(memory(process) < MEMORY + allowed);

    // Now and then a byte, as slow clients do; it does not help.
    wait::until("all slow connections to be ended", LIMIT, || {
        slow.retain_mut(|stream| stream.write_all(b"x").is_ok() && !has_ended(stream));
        expect_prompt_answers(&api)?;
        Ok::<_, DeploymentError>(slow.is_empty().then_some(()))
    })
    .expect("they end");
    server.process().expect_running().expect("the server is well");
}

#[test]
fn a_flood_of_large_bodies_stays_within_bounds() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(&folder);
    let (api, process) = (server.api(), server.process().id());
    // Each nearly as large as a body may be, and none of them ends: 400 MiB, of which the server holds a part only.
    let length = (2 << 20) - 1;
    let head = format!("POST /api/v1/auth/check-username HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
    let body = vec![b' '; length - 1];
    let mut flood: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
    let mut refused = 0;
    for stream in &mut flood {
        stream.set_nonblocking(true).expect("a socket");
        let _ = stream.write_all(head.as_bytes());
    }
    let mut sent = vec![0; flood.len()];
    let mut highest = 0;
    wait::until("the flood to be over", LIMIT, || {
        for (stream, sent) in flood.iter_mut().zip(&mut sent) {
            if let Ok(written) = stream.write(&body[*sent..]) {
                *sent += written;
            }
        }
        highest = highest.max(memory(process));
        expect_prompt_answers(&api)?;
        flood.retain_mut(|stream| {
            let ended = has_ended(stream);
            refused += usize::from(ended);
            !ended
        });
        sent.truncate(flood.len());
        Ok::<_, DeploymentError>(flood.is_empty().then_some(()))
    })
    .expect("all of them are ended");
    eprintln!("{refused} unfinished bodies of 2 MiB: {} MiB of memory at most", highest >> 20);
    assert!(highest < MEMORY, "{highest} bytes");
    server.process().expect_running().expect("the server is well");
}

#[test]
fn truncated_requests_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(&folder);
    let user = r#"{"username":"mallory","name":"M","email":"m@example.com","password":"Correct-Horse-7"}"#;
    let head = format!("POST /api/v1/auth/basic/register HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", user.len());
    let whole = format!("{head}{user}");
    for length in 0..whole.len() {
        let mut stream = connect(&server);
        stream.write_all(&whole.as_bytes()[..length]).expect("the server reads");
        drop(stream);
    }
    let free = server.api().post("/auth/check-username", &serde_json::json!({"username": "mallory"}));
    free.expect("nobody has registered");
    let mut stream = connect(&server);
    stream.write_all(whole.as_bytes()).expect("the server reads");
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
    server.process().expect_running().expect("the server is well");
}
