use super::{raw, slow};
use crate::server::Server;

gradient_test_support::both_databases!(no_head_is_too_strange, two_credentials_are_none);

async fn no_head_is_too_strange(database: &str) {
    let server = slow::impatient(database).await;
    let get =
        |headers: &str| format!("GET /api/v1/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n").into_bytes();
    let post = |headers: &str, body: &str| {
        let path = "/api/v1/auth/check-username";
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n{body}").into_bytes()
    };
    // The last column says what is right: an error, or that it is not strange after all.
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("no HTTP", b"hello\r\n\r\n".to_vec(), &[400]),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20), &[400, 408]),
        ("HTTP/0.9", b"GET /api/v1/health\r\n\r\n".to_vec(), &[400]),
        ("HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400]),
        ("a version that is none", b"GET /api/v1/health HTTP/9.9\r\n\r\n".to_vec(), &[400]),
        ("an unknown method", b"BREW /api/v1/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_vec(), &[405]),
        ("CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_vec(), &[400, 404, 405]),
        ("a foreign URL", b"GET http://example.com/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_vec(), &[404]),
        ("no host", b"GET /api/v1/health HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(), &[200, 400]),
        ("a very long path", [b"GET /".to_vec(), vec![b'a'; 200_000], b" HTTP/1.1\r\n\r\n".to_vec()].concat(), &[431]),
        ("a very long header", get(&format!("x-long: {}\r\n", "a".repeat(200_000))), &[431]),
        ("ten thousand headers", get(&"a: b\r\n".repeat(10_000)), &[400, 431]),
        ("a hundred thousand cookies", get(&format!("cookie: {}\r\n", "a=b; ".repeat(10_000))), &[200]),
        ("a folded header", get("x-folded: a\r\n b\r\n"), &[400]),
        ("a header with U+0000", get("x-nul: a\0b\r\n"), &[400]),
        ("a header without a name", get(": a\r\n"), &[400]),
        ("a space before the colon", get("authorization : Bearer a\r\n"), &[400]),
        ("a request id that goes into logs", get("x-request-id: a\x1b[31m\r\n"), &[200, 400]),
        (
            "addresses that are none",
            get("x-forwarded-for: ,,,'; DROP TABLE users,::::,999.9.9.9\r\nforwarded: for=\"[\r\n"),
            &[200],
        ),
        ("a length that is none", post("content-length: x\r\n", "{}"), &[400]),
        ("a negative length", post("content-length: -2\r\n", "{}"), &[400]),
        ("a length beyond all", post("content-length: 99999999999999999999999\r\n", "{}"), &[400, 413]),
        ("an enormous length", post("content-length: 1099511627776\r\n", "{}"), &[413]),
        ("two lengths", post("content-length: 2\r\ncontent-length: 20\r\n", "{}"), &[400]),
        ("a length and chunks", post("content-length: 2\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"), &[400]),
        ("an unknown transfer encoding", post("transfer-encoding: xchunked\r\n", "0\r\n\r\n"), &[400]),
        ("chunks that are none", post("transfer-encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"), &[400]),
        ("a chunk beyond all", post("transfer-encoding: chunked\r\n", "ffffffffffffffffff\r\n{}"), &[400]),
        ("a chunk without an end", post("transfer-encoding: chunked\r\n", "2\r\n{}xx"), &[400]),
        ("a compressed body", post("content-encoding: gzip\r\ncontent-length: 2\r\n", "\x1f\x08"), &[400]),
    ];
    for (what, bytes, expected) in cases {
        let answer = raw::send(&server, &bytes).await;
        let status = answer.status.unwrap_or_else(|| panic!("{what}: closed without an answer"));
        assert!(expected.contains(&status), "{what}: {status}, expected {expected:?}: {:.300}", answer.text);
    }
    assert!(raw::send(&server, &get("")).await.text.ends_with(r#"{"error":false,"message":"200 ALIVE"}"#));
}

async fn two_credentials_are_none(database: &str) {
    let server = Server::start(database).await;
    let token = server.signed_in("alice").await;
    let ask = async |headers: String| {
        let head = format!("GET /api/v1/user HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
        raw::send(&server, head.as_bytes()).await.status
    };
    assert_eq!(ask(format!("authorization: Bearer {token}\r\n")).await, Some(200));
    // Whatever stands before the server might have looked at the other one.
    for other in ["Bearer x", "Basic eDp4", &format!("Bearer {token}")] {
        assert_eq!(ask(format!("authorization: Bearer {token}\r\nauthorization: {other}\r\n")).await, Some(401), "{other}");
        assert_eq!(ask(format!("authorization: {other}\r\nauthorization: Bearer {token}\r\n")).await, Some(401), "{other}");
    }
    for wrong in ["", "Bearer", "Bearer ", "bearer\t", "Digest a", "Bearer a b", "Token a", "\u{e9}"] {
        assert_eq!(ask(format!("authorization: {wrong}\r\n")).await, Some(401), "{wrong:?}");
    }
}
