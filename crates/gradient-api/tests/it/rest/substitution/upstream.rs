//! A cache elsewhere that has what a test gives it.

use std::{
    collections::{BTreeSet, HashMap},
    net::TcpListener,
    sync::{Arc, Mutex},
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use gradient_cache_protocol::PathInfo;
use gradient_nix::{SigningKey, StorePath};

use crate::rest::worker::{Derivation, sha256};

pub(super) struct Upstream {
    pub(super) url: String,
    key: SigningKey,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    files: Mutex<HashMap<String, String>>,
    asked: Mutex<BTreeSet<String>>,
    is_broken: Mutex<bool>,
}

impl Upstream {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let server = HttpServer::new(move || {
            let state = Arc::clone(&shared);
            App::new().default_service(web::to(move |request: HttpRequest| {
                let state = Arc::clone(&state);
                async move { state.answer(request.path()) }
            }))
        });
        tokio::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
        Self { url, key: SigningKey::from_bytes("upstream-1", &[7; 32]).unwrap(), state }
    }

    /// What its clients trust.
    pub(super) fn public_key(&self) -> String {
        self.key.public().to_string()
    }

    /// Has what a derivation makes: this NAR, of which only the narinfo is there.
    pub(super) fn offer(&self, derivation: Derivation, nar: &[u8], references: &[&str]) {
        let mut info = PathInfo {
            path: derivation.output.parse().unwrap(),
            nar_hash: sha256(nar),
            nar_size: nar.len() as u64,
            file_hash: None,
            file_size: None,
            references: references.iter().map(|path| path.parse().unwrap()).collect(),
            deriver: None,
            content_address: None,
            signatures: Vec::new(),
        };
        info.sign(&self.key);
        let text = info.text_at("nar/one.nar.xz", "xz");
        self.state.files.lock().unwrap().insert(narinfo(derivation), text);
    }

    /// Fails from now on, or not any more.
    pub(super) fn set_broken(&self, is_broken: bool) {
        *self.state.is_broken.lock().unwrap() = is_broken;
    }

    /// Whether it was asked for what a derivation makes.
    pub(super) fn was_asked(&self, derivation: Derivation) -> bool {
        self.state.asked.lock().unwrap().contains(&narinfo(derivation))
    }
}

impl State {
    fn answer(&self, path: &str) -> HttpResponse {
        self.asked.lock().unwrap().insert(path.to_owned());
        if *self.is_broken.lock().unwrap() {
            return HttpResponse::InternalServerError().finish();
        }
        match self.files.lock().unwrap().get(path) {
            Some(text) => HttpResponse::Ok().body(text.clone()),
            None => HttpResponse::NotFound().finish(),
        }
    }
}

fn narinfo(derivation: Derivation) -> String {
    let path: StorePath = derivation.output.parse().unwrap();
    format!("/{}.narinfo", path.hash())
}
