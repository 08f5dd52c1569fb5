//! What stands between worker and server: it passes everything on, as long as the weather is good.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::frames::{Piece, Pieces};

/// How likely a piece is lost.
const LOSS: f64 = 0.3;

/// How long a sender waits before it sends again what was lost, and twice as long each further time, as TCP does.
const RESEND: Duration = Duration::from_millis(200);

/// A piece that is lost so often breaks its connection.
const LOSSES: u32 = 4;

/// Messages of the worker that are kept for later.
const KEPT: usize = 2000;

/// A way through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToWorker,
}

/// What happens to what comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// It is passed on.
    Clear,
    /// There is no connection, and there can be none.
    Cut,
    /// Nothing goes this way now; it will later.
    Held(Way),
    /// Some is lost and sent again; what is lost too often breaks its connection.
    Lossy,
    /// Each piece waits up to this long.
    Slow(Duration),
    /// Each message goes twice, except for a connection's first.
    Doubled,
}

/// The proxy; it ends, with all of its connections, when it is dropped.
pub(super) struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Where new connections go.
    server: String,
    weather: Weather,
    ended: bool,
    random: StdRng,
    /// The number of the next connection.
    next: u64,
    /// Connections before this one are silent for ever in one way.
    silent: Option<(Way, u64)>,
    streams: HashMap<u64, [TcpStream; 2]>,
    /// What the worker said, without what begins a connection.
    kept: Vec<Vec<u8>>,
    /// Whether the server is to hear all of it again.
    again: bool,
}

impl Proxy {
    /// Listens on a port of its own for connections to the server at this host and port.
    pub(super) fn start(server: &str, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?.to_string();
        let state = State {
            server: server.to_owned(),
            weather: Weather::Clear,
            ended: false,
            random: StdRng::seed_from_u64(seed),
            next: 0,
            silent: None,
            streams: HashMap::new(),
            kept: Vec::new(),
            again: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for worker in listener.incoming() {
                if accepting.lock().ended {
                    return;
                }
                // A server that is not there is none of the proxy's business.
                if let Ok(worker) = worker {
                    let _ = Shared::connect(&accepting, worker);
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn set(&self, weather: Weather) {
        let mut state = self.shared.lock();
        state.weather = weather;
        if weather == Weather::Cut {
            state.close_all();
        }
        self.shared.changed.notify_all();
    }

    /// From now on new connections go to another server.
    pub(super) fn redirect(&self, server: &str) {
        server.clone_into(&mut self.shared.lock().server);
    }

    /// Closes all connections that are there now.
    pub(super) fn close_all(&self) {
        self.shared.lock().close_all();
    }

    /// All connections that are there now carry nothing this way any more, for ever, and nobody is told.
    pub(super) fn silence(&self, way: Way) {
        let mut state = self.shared.lock();
        state.silent = Some((way, state.next));
    }

    /// With the next thing that the worker says, everything that it has said is said again.
    pub(super) fn repeat_all(&self) {
        self.shared.lock().again = true;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        state.close_all();
        drop(state);
        self.shared.changed.notify_all();
        // So that the listener looks.
        let _ = TcpStream::connect(&self.address);
    }
}

impl State {
    fn close_all(&mut self) {
        for stream in self.streams.drain().flat_map(|(_, pair)| pair) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(shared: &Arc<Self>, worker: TcpStream) -> io::Result<()> {
        let state = shared.lock();
        if state.weather == Weather::Cut {
            return worker.shutdown(Shutdown::Both);
        }
        let address = state.server.clone();
        drop(state);
        let server = TcpStream::connect(address)?;
        for stream in [&worker, &server] {
            stream.set_nodelay(true)?;
        }
        let mut state = shared.lock();
        let number = state.next;
        state.next += 1;
        state.streams.insert(number, [worker.try_clone()?, server.try_clone()?]);
        drop(state);
        let ways = [(Way::ToServer, worker.try_clone()?, server.try_clone()?), (Way::ToWorker, server, worker)];
        for (way, from, to) in ways {
            let shared = Arc::clone(shared);
            thread::spawn(move || {
                let _ = shared.pass(number, way, &from, &to);
                for stream in [from, to] {
                    let _ = stream.shutdown(Shutdown::Both);
                }
                shared.lock().streams.remove(&number);
            });
        }
        Ok(())
    }

    /// Passes on what comes, until one side ends the connection.
    fn pass(&self, number: u64, way: Way, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let (mut pieces, mut buffer, mut is_first) = (Pieces::default(), vec![0; 64 << 10], true);
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            pieces.add(buffer.get(..read).unwrap_or_default());
            while let Some(piece) = pieces.next() {
                let is_opening = piece.is_message && std::mem::take(&mut is_first);
                for bytes in self.outcome(number, way, piece, is_opening)? {
                    to.write_all(&bytes)?;
                }
            }
        }
    }

    /// What is sent instead of this piece, once it is its time.
    fn outcome(&self, number: u64, way: Way, piece: Piece, is_opening: bool) -> io::Result<Vec<Vec<u8>>> {
        let mut losses = 0;
        loop {
            let mut state = self.lock();
            let weather = state.weather;
            let pause = match weather {
                Weather::Held(held) if held == way => {
                    drop(self.changed.wait(state).unwrap_or_else(PoisonError::into_inner));
                    continue;
                }
                Weather::Lossy if state.random.random_bool(LOSS) => {
                    losses += 1;
                    if losses == LOSSES {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    RESEND * (1 << (losses - 1))
                }
                Weather::Slow(longest) => {
                    let pause = longest.mul_f64(state.random.random_range(0.0..1.0));
                    drop(state);
                    thread::sleep(pause);
                    return Ok(self.lock().passed(number, way, piece, is_opening));
                }
                _ => return Ok(state.passed(number, way, piece, is_opening)),
            };
            drop(state);
            thread::sleep(pause);
        }
    }
}

impl State {
    fn passed(&mut self, number: u64, way: Way, piece: Piece, is_opening: bool) -> Vec<Vec<u8>> {
        if self.silent.is_some_and(|(silent, before)| silent == way && number < before) {
            return Vec::new();
        }
        if !piece.is_message || is_opening {
            return vec![piece.bytes];
        }
        let mut sent = vec![piece.bytes.clone()];
        if self.weather == Weather::Doubled {
            sent.push(piece.bytes.clone());
        }
        if way == Way::ToServer {
            if std::mem::take(&mut self.again) {
                sent.extend(self.kept.iter().cloned());
            }
            if self.kept.len() < KEPT {
                self.kept.push(piece.bytes);
            }
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, on one connection.
    fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        address
    }

    fn ask(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(text)?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn it_passes_on_cuts_and_heals() {
        let proxy = Proxy::start(&echo(), 1).unwrap();
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        assert_eq!(ask(&mut stream, b"x\r\n\r\n").unwrap(), b"x\r\n\r\n");
        proxy.set(Weather::Cut);
        assert!(ask(&mut stream, b"lost").is_err());
        let mut refused = TcpStream::connect(proxy.address()).unwrap();
        assert!(ask(&mut refused, b"x\r\n\r\n").is_err());
        proxy.set(Weather::Clear);
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        assert_eq!(ask(&mut stream, b"y\r\n\r\n").unwrap(), b"y\r\n\r\n");
    }

    #[test]
    fn new_connections_go_where_it_points() {
        let proxy = Proxy::start(&echo(), 1).unwrap();
        let mut old = TcpStream::connect(proxy.address()).unwrap();
        assert_eq!(ask(&mut old, b"x\r\n\r\n").unwrap(), b"x\r\n\r\n");
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        proxy.redirect(&nobody);
        assert!(ask(&mut TcpStream::connect(proxy.address()).unwrap(), b"y\r\n\r\n").is_err());
        assert_eq!(ask(&mut old, b"z").unwrap(), b"z");
        proxy.close_all();
        assert!(ask(&mut old, b"z").is_err());
    }

    #[test]
    fn what_is_held_comes_later() {
        let proxy = Proxy::start(&echo(), 1).unwrap();
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        proxy.set(Weather::Held(Way::ToWorker));
        stream.write_all(b"x\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(stream.read(&mut [0; 5]).is_err());
        proxy.set(Weather::Clear);
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"x\r\n\r\n");
    }
}
