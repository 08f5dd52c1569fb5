//! The server's side: hands sockets to the test, and keeps what is uploaded.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_compression::tokio::{bufread::ZstdDecoder, write::ZstdEncoder};
use futures_util::{SinkExt as _, StreamExt as _};
use gradient_nix::{HashAlgorithm, NarHash, NixHasher, StorePath};
use gradient_protocol::{
    Hello, InputPath, Report, ReportNumber, ToServer, ToWorker, Welcome, decode, encode,
    transfer::{CONTENT_ADDRESS_HEADER, Inputs, Known, Missing, Paths, REFERENCES_HEADER},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};
use url::Url;

const PATIENCE: Duration = Duration::from_mins(1);

/// An uploaded path.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) nar: Vec<u8>,
    pub(crate) content_address: String,
    pub(crate) references: String,
}

/// What the HTTP routes know.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub(crate) uploads: BTreeMap<String, Upload>,
    /// Only requests with this token are answered.
    pub(crate) token: String,
    /// Paths whose download never begins.
    pub(crate) stuck: HashSet<String>,
    /// The names of derivations that the server has; nothing when it is of an earlier version, which does not say.
    pub(crate) known: Option<HashSet<String>>,
    /// The derivations that it was asked for.
    pub(crate) asked: Vec<String>,
    /// The NARs of outputs that the server has, by their names.
    pub(crate) outputs: HashMap<String, Vec<u8>>,
    /// How many requests had another token.
    pub(crate) unauthorized: usize,
    /// What stands between worker and server.
    pub(crate) proxy: Proxy,
    /// What came in pieces so far.
    pieces: BTreeMap<String, Vec<u8>>,
    /// The sizes of the bodies of uploads, as far as they got through.
    pub(crate) bodies: Vec<usize>,
}

/// What a proxy does with large bodies.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Proxy {
    /// There is none.
    #[default]
    None,
    /// Refuses those that have more bytes.
    Refuses(usize),
    /// Lets as many bytes of each body through, and then cuts the connection.
    Cuts(usize),
}

/// A server in the test.
pub(crate) struct Server {
    pub(crate) socket: Url,
    pub(crate) scope: Arc<Mutex<Scope>>,
    sockets: mpsc::Receiver<TcpStream>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = format!("ws://{}/proto", listener.local_addr().unwrap()).parse().unwrap();
        let scope: Arc<Mutex<Scope>> = Arc::default();
        let (sender, sockets) = mpsc::channel(16);
        let shared = Arc::clone(&scope);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(sort(stream, Arc::clone(&shared), sender.clone()));
            }
        });
        Self { socket, scope, sockets }
    }

    /// The next worker that connects, with what it says first.
    pub(crate) async fn hello(&mut self) -> (Peer, Hello) {
        let stream = timeout(PATIENCE, self.sockets.recv()).await.expect("a worker connects").unwrap();
        let mut peer = Peer(accept_async(stream).await.unwrap());
        match peer.next().await {
            ToServer::Hello(hello) => (peer, hello),
            other => panic!("{other:?} instead of a hello"),
        }
    }

    /// The next worker that connects, welcomed with this token.
    pub(crate) async fn welcome(&mut self, token: &str) -> (Peer, Hello) {
        let (mut peer, hello) = self.hello().await;
        token.clone_into(&mut self.scope.lock().unwrap().token);
        let session_token = token.to_owned();
        let (peers, refused) = (Vec::new(), Vec::new());
        peer.send(&ToWorker::Welcome(Welcome { version: 1, session_token, peers, refused, lease_secs: 300 })).await;
        (peer, hello)
    }
}

/// A connected worker.
pub(crate) struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    pub(crate) async fn send(&mut self, message: &ToWorker) {
        self.send_frame(encode(message).unwrap()).await;
    }

    /// Sends any bytes.
    pub(crate) async fn send_frame(&mut self, frame: Vec<u8>) {
        self.0.send(Message::binary(frame)).await.unwrap();
    }

    /// What the worker says next, but for how busy it is.
    pub(crate) async fn next(&mut self) -> ToServer {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("the worker speaks").unwrap().unwrap();
            if let Message::Binary(frame) = message {
                match decode(&frame).unwrap() {
                    ToServer::Load(_) => {}
                    message => return message,
                }
            }
        }
    }

    /// The next report, acknowledged.
    pub(crate) async fn report(&mut self) -> Report {
        let (number, report) = self.numbered_report().await;
        self.send(&ToWorker::Acknowledged { number }).await;
        report
    }

    /// The next report, as if it never came.
    pub(crate) async fn numbered_report(&mut self) -> (ReportNumber, Report) {
        match self.next().await {
            ToServer::Report { number, report, .. } => (number, report),
            other => panic!("{other:?} instead of a report"),
        }
    }

    /// Until the worker closes the connection.
    pub(crate) async fn closed(mut self) {
        let until = async { while let Some(Ok(_)) = self.0.next().await {} };
        timeout(PATIENCE, until).await.expect("the worker closes the connection");
    }
}

/// Sockets go to the test, requests are answered here.
async fn sort(stream: TcpStream, scope: Arc<Mutex<Scope>>, sockets: mpsc::Sender<TcpStream>) {
    let mut start = [0; 12];
    while stream.peek(&mut start).await.is_ok_and(|read| read > 0 && read < start.len()) {
        tokio::task::yield_now().await;
    }
    if &start == b"GET /proto H" {
        sockets.send(stream).await.unwrap();
        return;
    }
    let mut stream = BufReader::new(stream);
    while let Some(mut request) = Request::read(&mut stream).await {
        let proxy = scope.lock().unwrap().proxy;
        match proxy {
            Proxy::Refuses(most) if request.body.len() > most => {
                let _ = stream.write_all(b"HTTP/1.1 413 x\r\ncontent-length: 0\r\n\r\n").await;
                continue;
            }
            Proxy::Cuts(most) if request.body.len() > most => {
                request.body.truncate(most);
                // The server has what came of a piece; of a whole one it keeps nothing.
                if request.path.contains("/pieces/") {
                    answer(&scope, request).await;
                }
                return;
            }
            Proxy::None | Proxy::Refuses(_) | Proxy::Cuts(_) => {}
        }
        let Some((status, body)) = answer(&scope, request).await else { std::future::pending().await };
        let head = match status {
            // Nothing but how much has come.
            204 => format!("HTTP/1.1 204 x\r\nupload-offset: {}\r\n\r\n", String::from_utf8_lossy(&body)),
            _ => format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len()),
        };
        let body = if status == 204 { Vec::new() } else { body };
        if stream.write_all(&[head.into_bytes(), body].concat()).await.is_err() {
            return;
        }
    }
}

/// The answer, or nothing where the test wants none.
async fn answer(scope: &Mutex<Scope>, request: Request) -> Option<(u16, Vec<u8>)> {
    let (path, offset) = request.path.split_once("?offset=").unwrap_or((&request.path, ""));
    let (path, is_finish) = path.strip_suffix("/finish").map_or((path, false), |path| (path, true));
    let base = path.rsplit('/').next().unwrap_or_default().to_owned();
    {
        let mut scope = scope.lock().unwrap();
        if request.header("authorization") != format!("Bearer {}", scope.token) {
            scope.unauthorized += 1;
            return Some((401, Vec::new()));
        }
        if request.method == "GET" && scope.stuck.contains(&base) {
            return None;
        }
    }
    if path.contains("/pieces/") && !is_finish {
        let mut scope = scope.lock().unwrap();
        scope.bodies.push(request.body.len());
        let come = scope.pieces.entry(base).or_default();
        return Some(match (request.method.as_str(), offset.parse::<usize>()) {
            ("PUT", Ok(offset)) if offset == come.len() || offset == 0 => {
                come.truncate(offset);
                come.extend(request.body);
                (204, come.len().to_string().into_bytes())
            }
            ("HEAD", _) => (204, come.len().to_string().into_bytes()),
            _ => (409, br#"{"code":"wrong_offset","message":"go on elsewhere"}"#.to_vec()),
        });
    }
    Some(match request.method.as_str() {
        "POST" if is_finish => {
            let pieces = scope.lock().unwrap().pieces.remove(&base).unwrap_or_default();
            keep(scope, &request, base, &pieces).await;
            (204, Vec::new())
        }
        "POST" if path.ends_with("/inputs") => {
            let asked: Paths = serde_json::from_slice(&request.body).unwrap();
            (200, serde_json::to_vec(&Inputs { inputs: inputs(&mut scope.lock().unwrap(), asked.paths) }).unwrap())
        }
        "POST" if path.ends_with("/known") => {
            let asked: Paths = serde_json::from_slice(&request.body).unwrap();
            let mut scope = scope.lock().unwrap();
            scope.asked.extend(asked.paths.iter().map(|path| path.name().to_owned()));
            let Some(known) = &scope.known else { return Some((404, Vec::new())) };
            let known = asked.paths.into_iter().filter(|path| known.contains(path.name())).collect();
            (200, serde_json::to_vec(&Known { known }).unwrap())
        }
        "POST" => {
            let asked: Paths = serde_json::from_slice(&request.body).unwrap();
            let scope = scope.lock().unwrap();
            let missing = asked.paths.into_iter().filter(|path| !scope.uploads.contains_key(&path.to_string())).collect();
            (200, serde_json::to_vec(&Missing { missing }).unwrap())
        }
        "PUT" => {
            scope.lock().unwrap().bodies.push(request.body.len());
            keep(scope, &request, base, &request.body).await;
            (200, Vec::new())
        }
        _ => {
            let upload = scope.lock().unwrap().uploads.get(&base).cloned();
            match upload {
                Some(upload) => {
                    let mut encoder = ZstdEncoder::new(Vec::new());
                    encoder.write_all(&upload.nar).await.unwrap();
                    encoder.shutdown().await.unwrap();
                    (200, encoder.into_inner())
                }
                None => (404, br#"{"code":"not_found","message":"there is no such path"}"#.to_vec()),
            }
        }
    })
}

/// Those of the paths that are outputs which the server has. They can be downloaded from then on.
fn inputs(scope: &mut Scope, asked: Vec<StorePath>) -> Vec<InputPath> {
    let mut inputs = Vec::new();
    for path in asked {
        let Some(nar) = scope.outputs.get(path.name()).cloned() else { continue };
        let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
        hasher.update(&nar);
        let nar_hash = NarHash(hasher.finalize().digest_as_bytes().try_into().unwrap());
        let nar_size = nar.len() as u64;
        let upload = Upload { nar, content_address: String::new(), references: String::new() };
        scope.uploads.insert(path.to_string(), upload);
        let (references, deriver, content_address, upstream) = (vec![], None, None, None);
        inputs.push(InputPath { path, nar_hash, nar_size, references, deriver, content_address, upstream });
    }
    inputs
}

async fn keep(scope: &Mutex<Scope>, request: &Request, base: String, compressed: &[u8]) {
    let mut nar = Vec::new();
    ZstdDecoder::new(compressed).read_to_end(&mut nar).await.unwrap();
    let content_address = request.header(CONTENT_ADDRESS_HEADER).to_owned();
    let references = request.header(REFERENCES_HEADER).to_owned();
    scope.lock().unwrap().uploads.insert(base, Upload { nar, content_address, references });
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    async fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let body = match headers.get("content-length").and_then(|length| length.parse().ok()) {
            Some(length) => {
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await.ok()?;
                body
            }
            None if headers.contains_key("transfer-encoding") => chunks(stream).await?,
            None => Vec::new(),
        };
        Some(Self { method, path, headers, body })
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A chunked body.
async fn chunks(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk).await.ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
