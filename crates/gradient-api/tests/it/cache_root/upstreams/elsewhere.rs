//! An HTTP server that is no Gradient.

use std::{
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

/// What it does with every request.
#[derive(Debug, Clone)]
pub(in super::super) enum Behaviour {
    /// Answers with the files of a folder.
    Files(PathBuf),
    /// Answers this.
    Text(String),
    /// Has nothing.
    Nothing,
    /// Sends everybody there.
    Redirect(String),
    /// Fails.
    Broken,
    /// Never answers.
    Silent,
}

pub(in super::super) struct Elsewhere {
    /// Where it is, without a slash at the end.
    pub(in super::super) url: String,
    asked: Arc<AtomicUsize>,
}

impl Elsewhere {
    pub(in super::super) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let server = HttpServer::new(move || {
            let (behaviour, asked) = (behaviour.clone(), counter.clone());
            App::new().default_service(web::to(move |request: HttpRequest| {
                asked.fetch_add(1, Ordering::SeqCst);
                answer(behaviour.clone(), request.path().to_owned())
            }))
        });
        tokio::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
        Self { url, asked }
    }

    /// How often it was asked.
    pub(in super::super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(behaviour: Behaviour, path: String) -> HttpResponse {
    match behaviour {
        Behaviour::Files(folder) => match std::fs::read(folder.join(path.trim_start_matches('/'))) {
            Ok(bytes) => HttpResponse::Ok().body(bytes),
            Err(_) => HttpResponse::NotFound().finish(),
        },
        Behaviour::Text(text) => HttpResponse::Ok().body(text),
        Behaviour::Nothing => HttpResponse::NotFound().finish(),
        Behaviour::Redirect(to) => HttpResponse::Found().insert_header(("location", to)).finish(),
        Behaviour::Broken => HttpResponse::InternalServerError().finish(),
        Behaviour::Silent => std::future::pending().await,
    }
}
