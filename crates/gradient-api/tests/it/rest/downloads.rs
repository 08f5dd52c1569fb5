//! What builds offer for download.

use std::io::Read as _;

use gradient_nix::nar::Encoder;
use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use super::worker::{BASE, TREE, Workshop, tree};
use crate::server::Server;

gradient_test_support::both_databases!(
    products_are_listed_and_downloaded,
    what_leads_out_of_the_outputs_is_no_product,
    without_products_there_is_nothing,
    a_token_is_good_for_one_build,
);

/// A manual, pictures and an odd name, and what declares them.
fn products() -> Vec<u8> {
    let out = format!("/nix/store/{}", TREE.output);
    let lines = [
        format!("doc manual {out}/doc index.html"),
        format!("file none {out}/manual.pdf"),
        format!("file none {out}/doc/manual.pdf"),
        format!("report page \"{out}/doc/gr\u{fc}n;.html\""),
        format!("file none {out}/link"),
        format!("file none {out}/manual.pdf"),
        format!("file none {out}/nothing"),
        format!("file none {out}/out"),
        format!("file none {out}/up"),
        format!("file none {out}/../{}", BASE.output),
        format!("file none /nix/store/{}", BASE.output),
        "file none /etc/passwd".to_owned(),
        "\u{0}".to_owned(),
    ];
    let mut nar = Encoder::new(Vec::new()).unwrap();
    nar.start_directory(None).unwrap();
    nar.start_directory(Some(b"doc")).unwrap();
    nar.regular(Some("gr\u{fc}n;.html".as_bytes()), false, b"<script>").unwrap();
    nar.regular(Some(b"index.html"), false, b"<h1>Manual</h1>").unwrap();
    nar.regular(Some(b"manual.pdf"), false, b"another").unwrap();
    nar.end_directory().unwrap();
    nar.symlink(Some(b"link"), b"manual.pdf").unwrap();
    nar.regular(Some(b"manual.pdf"), false, b"0123456789").unwrap();
    nar.start_directory(Some(b"nix-support")).unwrap();
    nar.regular(Some(b"hydra-build-products"), false, lines.join("\n").as_bytes()).unwrap();
    nar.end_directory().unwrap();
    nar.symlink(Some(b"out"), format!("/nix/store/{}", BASE.output).as_bytes()).unwrap();
    nar.symlink(Some(b"up"), b"../../../etc/passwd").unwrap();
    nar.end_directory().unwrap();
    nar.finish().unwrap()
}

/// A workshop in which the tree was built; its evaluation and build.
async fn built(database: &str) -> (Workshop, String, String) {
    let mut workshop = Workshop::open(database).await;
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    let build = workshop.worker.build(TREE, &products(), &[TREE.output, BASE.output]).await.to_string();
    workshop.until(&evaluation, "Completed").await;
    (workshop, evaluation, build)
}

/// An answer that is no envelope.
struct Download {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Download {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(server: &Server, token: Option<&str>, method: Method, path: &str, headers: &[(&str, &str)]) -> Download {
    let mut request = server.http.request(method, format!("{}/api/v1{path}", server.url));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Download::of(request.send().await.unwrap()).await
}

async fn products_are_listed_and_downloaded(database: &str) {
    let (workshop, evaluation, build) = built(database).await;
    let alice = workshop.alice();

    let at = |path: &str| format!("/nix/store/{}/{path}", TREE.output);
    let file = |kind: [&str; 2], name: &str, path: &str, size: Option<u32>| json!({"file_type": kind[0], "subtype": kind[1], "name": name, "path": at(path), "size": size});
    let expected = json!([
        file(["doc", "manual"], "doc", "doc", None),
        file(["file", ""], "manual.pdf", "manual.pdf", Some(10)),
        file(["file", ""], "2-manual.pdf", "doc/manual.pdf", Some(7)),
        file(["report", "page"], "gr\u{fc}n;.html", "doc/gr\u{fc}n;.html", Some(8)),
        file(["file", ""], "link", "link", Some(10)),
    ]);
    assert_eq!(alice.get(&format!("/builds/{build}/downloads")).await.message(), expected);

    let download = async |method: Method, name: &str, headers: &[(&str, &str)]| {
        ask(&workshop.server, Some(&workshop.token), method, &format!("/builds/{build}/download/{name}"), headers).await
    };
    let whole = download(Method::GET, "manual.pdf", &[]).await;
    assert_eq!((whole.status, whole.body.as_slice()), (StatusCode::OK, b"0123456789".as_slice()));
    assert_eq!(whole.header("content-type"), "application/pdf");
    assert_eq!(whole.header("content-disposition"), "attachment; filename=\"manual.pdf\"");
    assert_eq!(whole.header("cache-control"), "private, max-age=3600");
    let head = download(Method::HEAD, "manual.pdf", &[]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (StatusCode::OK, "10", 0));
    let part = download(Method::GET, "manual.pdf", &[("range", "bytes=2-4")]).await;
    assert_eq!((part.status, part.body.as_slice()), (StatusCode::PARTIAL_CONTENT, b"234".as_slice()));
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
    assert_eq!(download(Method::GET, "manual.pdf", &[("range", "bytes=10-")]).await.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let known = download(Method::GET, "manual.pdf", &[("if-none-match", whole.header("etag"))]).await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    assert_eq!(download(Method::GET, "2-manual.pdf", &[]).await.body, b"another");
    assert_eq!(download(Method::GET, "link", &[]).await.body, b"0123456789");

    // What a page could do in our origin, this one cannot.
    let page = download(Method::GET, "gr%C3%BCn%3B.html", &[]).await;
    assert_eq!((page.status, page.body.as_slice()), (StatusCode::OK, b"<script>".as_slice()));
    let disposition = "attachment; filename=\"gr_n_.html\"; filename*=UTF-8''gr%C3%BCn%3B.html";
    assert_eq!(page.header("content-disposition"), disposition);
    assert_eq!((page.header("x-content-type-options"), page.header("content-security-policy")), ("nosniff", "sandbox"));

    let archive = download(Method::GET, "doc", &[]).await;
    assert_eq!(archive.header("content-disposition"), "attachment; filename=\"doc.tar.zst\"");
    let mut files = Vec::new();
    for entry in tar::Archive::new(zstd::decode_all(archive.body.as_slice()).unwrap().as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut contents = String::new();
        entry.read_to_string(&mut contents).unwrap();
        files.push((entry.path().unwrap().display().to_string(), contents));
    }
    assert!(files.contains(&("doc/index.html".to_owned(), "<h1>Manual</h1>".to_owned())), "{files:?}");

    let [first, second] = has_artefacts(&workshop, &evaluation).await;
    assert_eq!((first, second), (("base".to_owned(), false), ("tree".to_owned(), true)));
    let entry_points = alice.get("/projects/acme/web/entry-points").await.message();
    assert_eq!((&entry_points[0]["build_id"], &entry_points[0]["has_artefacts"]), (&json!(build), &json!(true)));
}

/// Which of an evaluation's two builds have something to download.
async fn has_artefacts(workshop: &Workshop, evaluation: &str) -> [(String, bool); 2] {
    let page = workshop.alice().get(&format!("/evals/{evaluation}/builds")).await.message();
    let line = |build: &Value| (build["name"].as_str().unwrap().to_owned(), build["has_artefacts"].as_bool().unwrap());
    page["builds"].as_array().unwrap().iter().map(line).collect::<Vec<_>>().try_into().unwrap()
}

async fn what_leads_out_of_the_outputs_is_no_product(database: &str) {
    let (workshop, _, build) = built(database).await;
    let base = &BASE.output;
    for name in
        ["nothing", "out", "up", base, "passwd", "index.html", "..%2Fmanual.pdf", "doc%2Findex.html", "%00", "doc/index.html"]
    {
        let path = format!("/builds/{build}/download/{name}");
        assert_eq!(workshop.alice().get(&path).await.error(), (404, "not_found"), "{name}");
    }
}

async fn without_products_there_is_nothing(database: &str) {
    let mut workshop = Workshop::open(database).await;
    let evaluation = workshop.evaluate().await;
    workshop.worker.evaluate(&[BASE, TREE]).await;
    let base = workshop.worker.build(BASE, &tree(&[("x", b"x")]), &[]).await;
    let alice = workshop.alice();
    assert_eq!(alice.get(&format!("/builds/{base}/downloads")).await.message(), json!([]));
    assert_eq!(alice.get(&format!("/builds/{base}/download/x")).await.error(), (404, "not_found"));

    // Lines, and nothing behind them.
    let mut nar = Encoder::new(Vec::new()).unwrap();
    nar.start_directory(None).unwrap();
    nar.start_directory(Some(b"nix-support")).unwrap();
    let line = format!("file none /nix/store/{}/missing\n", TREE.output).repeat(10_000);
    nar.regular(Some(b"hydra-build-products"), false, line.as_bytes()).unwrap();
    nar.end_directory().unwrap();
    nar.end_directory().unwrap();
    let build = workshop.worker.build(TREE, &nar.finish().unwrap(), &[TREE.output]).await;
    workshop.until(&evaluation, "Completed").await;
    assert_eq!(workshop.alice().get(&format!("/builds/{build}/downloads")).await.message(), json!([]));
    assert_eq!(has_artefacts(&workshop, &evaluation).await.map(|(_, has)| has), [false, false]);
}

async fn a_token_is_good_for_one_build(database: &str) {
    let (workshop, evaluation, build) = built(database).await;
    let (server, alice) = (&workshop.server, workshop.alice());
    let stranger = server.signed_in("bob").await;
    let path = format!("/builds/{build}/download/manual.pdf");
    assert_eq!(server.anonymous().get(&path).await.error(), (401, "unauthorized"));
    assert_eq!(server.with(&stranger).get(&path).await.error(), (404, "not_found"));
    let issue = format!("/builds/{build}/download-token");
    assert_eq!(server.with(&stranger).get(&issue).await.error(), (404, "not_found"));

    let token = alice.get(&issue).await.message().as_str().unwrap().to_owned();
    let with = |token: &str| format!("{path}?token={token}");
    let download = ask(server, None, Method::GET, &with(&token), &[]).await;
    assert_eq!((download.status, download.body.as_slice()), (StatusCode::OK, b"0123456789".as_slice()));
    let nothing = format!("/builds/{build}/download/nothing?token={token}");
    assert_eq!(server.anonymous().get(&nothing).await.error(), (404, "not_found"));

    // It is no session, a session is no token, and it opens nothing else.
    assert_eq!(server.with(&token).get("/user").await.error(), (401, "unauthorized"));
    let session = workshop.token.as_str();
    for wrong in [session, "", "x", &token[..token.len() - 2]] {
        assert_eq!(server.anonymous().get(&with(wrong)).await.error(), (401, "unauthorized"), "{wrong}");
    }
    let page = alice.get(&format!("/evals/{evaluation}/builds")).await.message();
    let other = page["builds"].as_array().unwrap().iter().find(|other| other["id"] != json!(build)).unwrap();
    let other = format!("/builds/{}/download/x?token={token}", other["id"].as_str().unwrap());
    assert_eq!(server.anonymous().get(&other).await.error(), (401, "unauthorized"));
    let listed = server.anonymous().get(&format!("/builds/{build}/downloads?token={token}")).await;
    assert_eq!(listed.error(), (401, "unauthorized"));

    // Nobody's things are there for a token either.
    alice.delete("/orgs/acme").await.message();
    assert_eq!(server.anonymous().get(&with(&token)).await.error(), (404, "not_found"));
}
