//! NARs of workers that come in pieces, as over a proxy that cuts what is large.

use futures_util::{StreamExt, stream};
use gradient_nix::StorePath;
use gradient_protocol::{BuiltOutput, Report, transfer};
use reqwest::{Body, Method, Response, StatusCode};

use super::worker::{Assignment, BASE, TREE, Workshop, sha256, tree};

gradient_test_support::both_databases!(pieces_become_an_output, only_what_fits_is_taken);

/// What comes of a piece, and of a NAR of pieces.
struct Sender<'w> {
    workshop: &'w Workshop,
    assignment: &'w Assignment,
    path: StorePath,
}

impl Sender<'_> {
    async fn send(&self, method: Method, route: &str, body: impl Into<Body>) -> Response {
        self.workshop.worker.request(method, route).body(body).send().await.unwrap()
    }

    fn route(&self) -> String {
        transfer::job_pieces(self.assignment.job, self.assignment.epoch, &self.path)
    }

    async fn piece(&self, offset: usize, bytes: &[u8]) -> (StatusCode, Option<usize>) {
        let response = self.send(Method::PUT, &format!("{}?offset={offset}", self.route()), bytes.to_vec()).await;
        (response.status(), come(&response))
    }

    async fn offset(&self) -> Option<usize> {
        come(&self.send(Method::HEAD, &self.route(), "").await)
    }

    async fn finish(&self) -> (StatusCode, String) {
        let route = transfer::job_pieces_finish(self.assignment.job, self.assignment.epoch, &self.path);
        let response = self.send(Method::POST, &route, "").await;
        let status = response.status();
        let refusal = response.json().await.map_or_else(|_| String::new(), |refusal: transfer::Refusal| refusal.code);
        (status, refusal)
    }
}

fn come(response: &Response) -> Option<usize> {
    response.headers().get(transfer::OFFSET_HEADER)?.to_str().unwrap().parse().ok()
}

const TAKEN: StatusCode = StatusCode::NO_CONTENT;

async fn pieces_become_an_output(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE]).await;
    let assignment = workshop.worker.next_build(BASE).await;
    let mut contents = vec![0; 100_000];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut contents);
    let nar = tree(&[("file", &contents)]);
    let compressed = zstd::encode_all(nar.as_slice(), 3).unwrap();
    let sender = Sender { workshop: &workshop, assignment: &assignment, path: BASE.output.parse().unwrap() };

    assert_eq!(sender.offset().await, Some(0));
    assert_eq!(sender.piece(0, &compressed[..1000]).await, (TAKEN, Some(1000)));
    // A piece that breaks off: what came of it is kept.
    let staging = workshop.server.blobs.staging().path().to_owned();
    let has_come = async move {
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(10));
        let sizes = || std::fs::read_dir(&staging).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        while !sizes().any(|size| size > 1000) {
            pause.tick().await;
        }
        Err(std::io::Error::other("torn"))
    };
    let torn = stream::iter([Ok(compressed[1000..50_000].to_vec())]).chain(stream::once(has_come));
    let route = format!("{}?offset=1000", sender.route());
    let request = workshop.worker.request(Method::PUT, &route).body(Body::wrap_stream(torn));
    assert!(request.send().await.is_err());
    let end = super::worker::soon(async {
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(10));
        loop {
            pause.tick().await;
            let end = sender.offset().await.unwrap();
            if end > 1000 {
                break end;
            }
        }
    })
    .await;
    assert!(end <= 50_000, "{end}");
    assert_eq!(sender.piece(end + 1, b"x").await, (StatusCode::CONFLICT, None));
    assert_eq!(sender.piece(1000, b"x").await, (StatusCode::CONFLICT, None));
    assert_eq!(sender.piece(end, &compressed[end..]).await, (TAKEN, Some(compressed.len())));
    assert_eq!(sender.finish().await, (TAKEN, String::new()));
    assert_eq!(sender.finish().await, (StatusCode::BAD_REQUEST, "incomplete".to_owned()), "once");
    assert_eq!(sender.offset().await, Some(0));

    let path: StorePath = BASE.output.parse().unwrap();
    let output = BuiltOutput {
        name: "out".to_owned(),
        path: path.clone(),
        nar_hash: sha256(&nar),
        nar_size: nar.len() as u64,
        references: vec![],
    };
    workshop.worker.report(&assignment, Report::Built { outputs: vec![output], build_ms: 5, log_bytes: 0 }).await;
    workshop.until(&evaluation, "Completed").await;
    let staging = workshop.server.blobs.staging().path();
    assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0, "nothing is left of the pieces");
}

async fn only_what_fits_is_taken(database: &str) {
    let mut workshop = Workshop::open(database).await;
    workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE]).await;
    let assignment = workshop.worker.next_build(BASE).await;
    let compressed = zstd::encode_all(tree(&[("file", b"contents")]).as_slice(), 3).unwrap();
    let sender = Sender { workshop: &workshop, assignment: &assignment, path: BASE.output.parse().unwrap() };
    assert_eq!(sender.piece(3, b"x").await, (StatusCode::CONFLICT, None));
    assert_eq!(sender.finish().await, (StatusCode::BAD_REQUEST, "incomplete".to_owned()));
    // What is no NAR is refused, and gone.
    assert_eq!(sender.piece(0, &compressed[..20]).await, (TAKEN, Some(20)));
    assert_eq!(sender.finish().await, (StatusCode::UNPROCESSABLE_ENTITY, "refused".to_owned()));
    assert_eq!(sender.offset().await, Some(0));
    // A piece at 0 begins anew.
    assert_eq!(sender.piece(0, b"something else").await, (TAKEN, Some(14)));
    assert_eq!(sender.piece(0, &compressed).await, (TAKEN, Some(compressed.len())));
    let other = Sender { path: TREE.output.parse().unwrap(), ..sender };
    assert_eq!(other.piece(0, &compressed).await, (TAKEN, Some(compressed.len())));
    assert_eq!(other.finish().await, (StatusCode::FORBIDDEN, "not_an_output".to_owned()));
    let strange = Assignment { epoch: gradient_domain::Epoch(assignment.epoch.0 + 1), ..assignment.clone() };
    let strange = Sender { assignment: &strange, path: BASE.output.parse().unwrap(), workshop: &workshop };
    assert_eq!(strange.piece(0, &compressed).await, (StatusCode::CONFLICT, None));
    let route = other.route();
    let anonymous = workshop.server.http.put(format!("{}{route}?offset=0", workshop.server.url)).body("x");
    assert_eq!(anonymous.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}
