//! The server's side of the transfer routes, in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_compression::tokio::{bufread::ZstdDecoder, write::ZstdEncoder};
use gradient_protocol::transfer::{CONTENT_ADDRESS_HEADER, REFERENCES_HEADER};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// NARs by the basename of their path.
pub(super) type Nars = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// Content addresses and references, as they were declared, by the basename of the path.
pub(super) type Declared = Arc<Mutex<HashMap<String, (String, String)>>>;

/// A server that has the NARs in `has`, and takes all that is uploaded into `got`.
pub(super) struct Server {
    pub(super) socket: reqwest::Url,
    pub(super) has: Nars,
    pub(super) got: Nars,
    pub(super) declared: Declared,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = format!("ws://{}/proto", listener.local_addr().unwrap()).parse().unwrap();
        let server = Self { socket, has: Nars::default(), got: Nars::default(), declared: Declared::default() };
        let (has, got, declared) = (Arc::clone(&server.has), Arc::clone(&server.got), Arc::clone(&server.declared));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&has), Arc::clone(&got), Arc::clone(&declared)));
            }
        });
        server
    }
}

async fn serve(stream: TcpStream, has: Nars, got: Nars, declared: Declared) {
    let mut stream = BufReader::new(stream);
    loop {
        let Some(request) = line(&mut stream).await else { return };
        let (mut chunked, mut address, mut references) = (false, None, String::new());
        while let Some(header) = line(&mut stream).await.filter(|header| !header.is_empty()) {
            chunked |= header.eq_ignore_ascii_case("transfer-encoding: chunked");
            match header.split_once(": ") {
                Some((CONTENT_ADDRESS_HEADER, value)) => address = Some(value.to_owned()),
                Some((REFERENCES_HEADER, value)) => value.clone_into(&mut references),
                _ => {}
            }
        }
        let mut words = request.split(' ');
        let (method, name) = (words.next().unwrap(), words.next().unwrap().rsplit('/').next().unwrap().to_owned());
        let answer = if method == "PUT" {
            assert!(chunked, "uploads are streams");
            let mut nar = Vec::new();
            ZstdDecoder::new(&chunks(&mut stream).await[..]).read_to_end(&mut nar).await.unwrap();
            declared.lock().unwrap().extend(address.map(|address| (name.clone(), (address, references))));
            got.lock().unwrap().insert(name, nar);
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".as_bytes().to_vec()
        } else {
            let nar = has.lock().unwrap().get(&name).cloned();
            match nar {
                Some(nar) => {
                    let mut encoder = ZstdEncoder::new(Vec::new());
                    encoder.write_all(&nar).await.unwrap();
                    encoder.shutdown().await.unwrap();
                    let body = encoder.into_inner();
                    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
                    answer.extend(body);
                    answer
                }
                None => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
            }
        };
        stream.write_all(&answer).await.unwrap();
    }
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&line(stream).await.unwrap(), 16).unwrap();
        let mut chunk = vec![0; size];
        stream.read_exact(&mut chunk).await.unwrap();
        body.extend(chunk);
        assert_eq!(line(stream).await.unwrap(), "");
        if size == 0 {
            return body;
        }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    (stream.read_line(&mut line).await.ok()? > 0).then(|| line.trim_end().to_owned())
}
