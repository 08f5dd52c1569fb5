//! A server with a certificate, and real Nix.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gradient_test_support::deployment::{Authority, CacheVisibility, DeploymentError, NixInstall, Server, ServerSettings, wait};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use crate::trial::{LIMIT, Setting, Trial, programs};

/// A certificate for this machine, somebody who vouches for it, and its key.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn write(folder: &Path) -> Self {
        let files = Self { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "the tests of Gradient");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        fs::write(&files.certificate, certificate.pem() + &authority.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let file = |path: &Path| path.display().to_string();
        vec![("GRADIENT_TLS_CERTIFICATE_FILE", file(&self.certificate)), ("GRADIENT_TLS_KEY_FILE", file(&self.key))]
    }
}

/// The worker connects by wss and moves NARs by https, and both Nix substitute by HTTP/2 and by HTTP/1.1, from a private cache.
#[test]
fn everything_goes_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::write(folder.path());
    let setting = Setting { cache: CacheVisibility::Private, environment: files.environment(), ..Setting::usual() };
    let trial = Trial::start(&setting).unwrap().unwrap();
    trial.run(|trial| {
        let evaluation = trial.evaluate("packages", "diamond")?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed");
        let paths: Vec<String> = evaluation.outputs()?.into_values().flatten().collect();
        let key = trial.installation.api().post("/user/keys", &json!({"name": "reader", "permissions": ["readStore"]}))?;
        for (name, nix) in [("system", Some(NixInstall::of_the_system())), ("newer", NixInstall::newer())] {
            let Some(nix) = nix else { continue };
            for (version, options) in [("2", &[][..]), ("1.1", &["--option", "http2", "false"])] {
                let client = trial.client_with(&nix, &format!("{name}-{version}"), &trial.installation.cache_key()?)?;
                let client = client.trusting(&files.certificate);
                client.log_in("localhost", "anybody", key.as_str().expect("a key"))?;
                let said = client.substitute_aloud(&paths, options)?;
                let answers: Vec<&str> = said.lines().filter(|line| line.contains("HTTP/") && line.contains(" 200")).collect();
                let expected = format!("HTTP/{version} 200");
                assert!(!answers.is_empty() && answers.iter().all(|line| line.contains(&expected)), "{answers:#?}");
                client.verify_contents()?;
                client.verify_signatures(&paths)?;
            }
        }
        Ok(())
    });
}

fn server(folder: &Path, environment: Vec<(&'static str, String)>) -> Server {
    let settings = ServerSettings {
        program: programs().server,
        folder: folder.to_path_buf(),
        database_url: None,
        hosted_worker: None,
        rate_limits: false,
        environment,
    };
    Server::start(&settings).expect("the server starts")
}

#[test]
fn a_new_certificate_is_shown_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::write(folder.path());
    let mut server = server(&folder.path().join("server"), files.environment());
    let first = server.api();
    first.get("/health").unwrap();

    // What cannot be used changes nothing.
    let key = fs::read(&files.key).unwrap();
    fs::write(&files.key, "no key").unwrap();
    server.process().signal_hangup();
    server.process().wait_for_log("the certificate stays as it was", LIMIT).unwrap();
    server.api().get("/health").unwrap();
    fs::write(&files.key, key).unwrap();

    Files::write(folder.path());
    server.process().signal_hangup();
    server.process().wait_for_log("the certificate was read again", LIMIT).unwrap();
    let second = server.api().trusting(&Authority::read(&files.certificate).unwrap());
    second.get("/health").unwrap();
    // A connection that there is goes on; a new one is refused by whoever trusts the first certificate only.
    first.get("/health").unwrap();
    let refused = server.api().get("/health");
    assert!(matches!(refused, Err(DeploymentError::Unreachable { .. })), "{refused:?}");
}

/// How long the server gives its clients, in seconds.
const PATIENCE: u64 = 2;

#[test]
fn who_does_not_shake_hands_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut environment = Files::write(folder.path()).environment();
    environment.push(("GRADIENT_REQUEST_TIMEOUT_SECS", PATIENCE.to_string()));
    let server = server(&folder.path().join("server"), environment);
    let address = server.url().trim_start_matches("https://").to_owned();
    let started = Instant::now();
    let mut silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&address).unwrap()).collect();
    // A plain request is none of TLS.
    server.api().get("/health").unwrap();
    for stream in &mut silent {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let read = stream.read(&mut [0; 16]);
        assert!(!matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock), "{read:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(PATIENCE) * 5, "{:?}", started.elapsed());
    wait::until("the server to answer others", LIMIT, || Ok::<_, DeploymentError>(server.api().get("/health").ok())).unwrap();
}

/// A connection that has shaken hands; `protocol` is what it wants to speak.
fn connect(server: &Server, files: &Files, protocol: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_file_iter(&files.certificate).unwrap().map(Result::unwrap));
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(server.url().trim_start_matches("https://")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut connection = StreamOwned::new(client, stream);
    connection.conn.complete_io(&mut connection.sock).unwrap();
    assert_eq!(connection.conn.alpn_protocol(), Some(protocol.as_bytes()));
    connection
}

/// How long it takes until the server ends the connection. Pings of HTTP/2 are answered, all else that it says is ignored.
fn until_closed(mut connection: StreamOwned<ClientConnection, TcpStream>, is_http_2: bool) -> Duration {
    let started = Instant::now();
    let mut head = [0; 9];
    let mut read = move || -> std::io::Result<()> {
        connection.read_exact(&mut head)?;
        if is_http_2 {
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2]) | usize::from(head[0]) << 16];
            connection.read_exact(&mut payload)?;
            if head[3] == PING && head[4] & ACKNOWLEDGED == 0 {
                connection.write_all(&frame(PING, ACKNOWLEDGED, 0, &payload))?;
            }
        }
        Ok(())
    };
    loop {
        match read() {
            Ok(()) => assert!(started.elapsed() < LIMIT),
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "it is still open after {:?}", started.elapsed());
                return started.elapsed();
            }
        }
    }
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACKNOWLEDGED: u8 = 1;
/// Nothing follows, neither of the head nor of the request.
const WHOLE: u8 = 5;

/// A frame of HTTP/2 (RFC 9113, section 4.1); `payload` is short.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// The head of a GET (RFC 7541): method, scheme and path by their numbers, with the path as it is.
fn get(path: &str) -> Vec<u8> {
    let mut head = vec![0x82, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    head.extend_from_slice(path.as_bytes());
    head.extend_from_slice(b"\x01\x09localhost");
    head
}

/// With HTTP/2 the kernel's buffers are read all the time; it is the window of the stream that stays shut.
#[test]
fn who_asks_and_does_not_read_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::write(folder.path());
    let mut environment = files.environment();
    environment.push(("GRADIENT_REQUEST_TIMEOUT_SECS", PATIENCE.to_string()));
    let server = server(&folder.path().join("server"), environment);

    let mut half_a_head = connect(&server, &files, "http/1.1");
    half_a_head.write_all(b"GET /api/v1/health HTTP/1.1\r\nhost: local").unwrap();
    let mut shut_window = connect(&server, &files, "h2");
    shut_window.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    shut_window.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    shut_window.write_all(&frame(HEADERS, WHOLE, 1, &get("/api/v1/openapi.json"))).unwrap();

    assert!(until_closed(half_a_head, false) < Duration::from_secs(PATIENCE * 5));
    // The time between two requests comes on top, and a second until it is looked at.
    let closed = until_closed(shut_window, true);
    assert!(closed > Duration::from_secs(PATIENCE) && closed < Duration::from_secs(PATIENCE + 25), "{closed:?}");
    server.api().get("/health").unwrap();
}
