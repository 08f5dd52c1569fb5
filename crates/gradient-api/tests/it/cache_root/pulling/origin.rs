//! A cache elsewhere that signs what it has, and may then send something else.

use std::{
    collections::HashMap,
    io,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gradient_cache_protocol::PathInfo;
use gradient_nix::{CAHash, NarHash, SigningKey, StorePath};
use tokio::sync::watch;

use super::super::uploading::world::{Nar, path_of, sha256};

/// What it does when it is asked for a NAR.
#[derive(Debug, Clone)]
pub(super) enum Manner {
    /// Sends it.
    Good,
    /// Sends these bytes.
    Instead(Vec<u8>),
    /// Sends it, and goes on for ever.
    Endless,
    /// Sends as much of it, and the rest when it is let go.
    Gated(usize),
    /// Sends as much of it, and breaks off.
    Torn(usize),
    /// Sends the client somewhere else for it, where it is.
    Moved,
    /// Does not have it.
    Gone,
    /// Answers nothing, also of narinfos.
    Dead,
    /// Keeps the client waiting.
    Silent,
}

pub(super) struct Origin {
    pub(super) url: String,
    /// What its clients trust.
    pub(super) public_key: String,
    key: SigningKey,
    state: Arc<State>,
}

struct State {
    files: Mutex<HashMap<String, Bytes>>,
    manner: Mutex<Manner>,
    asked: Mutex<Vec<String>>,
    gate: watch::Sender<bool>,
}

impl Origin {
    pub(super) fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let NarHash(seed) = sha256(name.as_bytes());
        let key = SigningKey::from_bytes(&format!("{name}-1"), &seed).unwrap();
        let state = Arc::new(State {
            files: Mutex::default(),
            manner: Mutex::new(Manner::Good),
            asked: Mutex::default(),
            gate: watch::channel(false).0,
        });
        let shared = Arc::clone(&state);
        let server = HttpServer::new(move || {
            let state = Arc::clone(&shared);
            App::new().default_service(web::to(move |request: HttpRequest| answer(Arc::clone(&state), request.path().to_owned())))
        });
        tokio::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
        Self { url, public_key: key.public().to_string(), key, state }
    }

    /// Has a path of this name, with this content.
    pub(super) fn offer(&self, name: &str, nar: &Nar, references: &[&StorePath]) -> StorePath {
        self.offer_as(name, nar, references, |_| {})
    }

    /// The same, but what is signed was changed before.
    pub(super) fn offer_as(
        &self,
        name: &str,
        nar: &Nar,
        references: &[&StorePath],
        change: impl FnOnce(&mut PathInfo),
    ) -> StorePath {
        let mut info = PathInfo {
            path: path_of(name),
            nar_hash: nar.hash,
            nar_size: nar.bytes.len() as u64,
            file_hash: Some(nar.sent_hash),
            file_size: Some(nar.sent.len() as u64),
            references: references.iter().copied().cloned().collect(),
            deriver: None,
            content_address: None,
            signatures: Vec::new(),
        };
        change(&mut info);
        info.sign(&self.key);
        let text = info.text_at(&nar.url, "zstd");
        let mut files = self.state.files.lock().unwrap();
        files.insert(format!("/{}.narinfo", info.path.hash()), text.into());
        files.insert(format!("/{}", nar.url), nar.sent.clone().into());
        info.path
    }

    /// What a path's address would have to be.
    pub(super) fn address(nar: &Nar) -> CAHash {
        CAHash::Nar(nar.hash.into())
    }

    pub(super) fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    pub(super) fn open_the_gate(&self) {
        self.state.gate.send_replace(true);
    }

    /// How often it was asked for a NAR.
    pub(super) fn sent(&self) -> usize {
        self.state.asked.lock().unwrap().iter().filter(|path| path.starts_with("/nar/")).count()
    }
}

async fn answer(state: Arc<State>, path: String) -> HttpResponse {
    state.asked.lock().unwrap().push(path.clone());
    let manner = state.manner.lock().unwrap().clone();
    let file = state.files.lock().unwrap().get(path.trim_start_matches("/moved")).cloned();
    let is_nar = path.contains("/nar/");
    match (manner, file) {
        (Manner::Dead, _) => HttpResponse::InternalServerError().finish(),
        (_, None) => HttpResponse::NotFound().finish(),
        (_, Some(file)) if !is_nar => HttpResponse::Ok().body(file),
        (Manner::Good, Some(file)) => HttpResponse::Ok().body(file),
        (Manner::Moved, Some(file)) => {
            if path.starts_with("/moved") {
                HttpResponse::Ok().body(file)
            } else {
                HttpResponse::Found().insert_header(("location", format!("/moved{path}"))).finish()
            }
        }
        (Manner::Instead(bytes), _) => HttpResponse::Ok().body(bytes),
        (Manner::Endless, Some(file)) => {
            let zeros = Bytes::from(vec![0; 65_536]);
            let zeros = stream::iter(std::iter::repeat_with(move || Ok::<_, io::Error>(zeros.clone())));
            HttpResponse::Ok().streaming(stream::iter([Ok(file)]).chain(zeros))
        }
        (Manner::Gated(at), Some(file)) => {
            let (first, rest) = (file.slice(..at), file.slice(at..));
            let mut gate = state.gate.subscribe();
            let rest = stream::once(async move {
                gate.wait_for(|open| *open).await.unwrap();
                Ok::<_, io::Error>(rest)
            });
            HttpResponse::Ok().streaming(stream::iter([Ok(first)]).chain(rest))
        }
        (Manner::Torn(at), Some(file)) => {
            let torn = [Ok(file.slice(..at)), Err(io::Error::other("torn"))];
            HttpResponse::Ok().streaming(stream::iter(torn))
        }
        (Manner::Gone, _) => HttpResponse::NotFound().finish(),
        (Manner::Silent, _) => {
            tokio::time::sleep(Duration::from_hours(1)).await;
            HttpResponse::Ok().finish()
        }
    }
}
