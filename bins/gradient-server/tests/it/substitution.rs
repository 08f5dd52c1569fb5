//! What an upstream has is not built: a folder of signed files, as `nix copy` makes it, from which the worker fetches.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use gradient_test_support::deployment::answer::field;
use gradient_test_support::deployment::{DeploymentError, Installation, NixInstall, this_system};
use serde_json::json;

use crate::trial::{Database, LIMIT, Outcome, Setting, Trial, build};

/// A package that needs another one at run time, which was built with a third. Each is new to every store.
const FLAKE: &str = r#"{
  outputs = { self }: let
    make = name: script: derivation {
      inherit name;
      system = "SYSTEM";
      builder = "/bin/sh";
      PATH = "/bin:/usr/bin";
      nonce = "NONCE";
      args = [ "-e" "-c" script ];
    };
    tool = make "tool" "echo tool > $out";
    data = make "data" "echo data > $out";
    library = make "library" "mkdir $out; echo ${data} > $out/data; test -s ${tool}";
  in {
    packages.SYSTEM.library = library;
    checks.SYSTEM.application = make "application" "cat ${library}/data > $out; cat $(cat ${library}/data) >> $out";
  };
}"#;

/// A binary cache: files in a folder, served over HTTP.
struct Upstream {
    url: String,
    public_key: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// Builds a derivation in this machine's store, copies what it makes with all that this refers to, and removes it from the store.
    fn with(nix: &NixInstall, folder: &Path, flake: &str) -> Self {
        let (home, files) = (folder.join("home"), folder.join("files"));
        fs::create_dir_all(&home).unwrap();
        let settings = "experimental-features = nix-command flakes\nbuild-users-group =\nsandbox = false\nsubstituters =\n";
        fs::write(home.join("nix.conf"), settings).unwrap();
        let run = |program: &str, arguments: &[&str]| run(nix.command(program, &home).args(arguments).env("NIX_REMOTE", "local"));
        let (secret, public) = (folder.join("secret"), folder.join("public"));
        let [secret, public] = [secret, public].map(|path| path.display().to_string());
        run("nix-store", &["--generate-binary-cache-key", "upstream-1", &secret, &public]);

        let attribute = format!("{flake}#packages.{}.library.drvPath", this_system());
        let derivation = run("nix", &["eval", "--raw", &attribute]);
        let output = run("nix-store", &["--realise", derivation.trim()]);
        let to = format!("file://{}?compression=xz&secret-key={secret}", files.display());
        run("nix", &["copy", "--to", &to, output.trim()]);
        let made = run("nix-store", &["--query", "--requisites", "--include-outputs", derivation.trim()]);
        let mut delete = vec!["--delete", "--ignore-liveness"];
        delete.extend(made.lines());
        run("nix-store", &delete);
        assert!(!Path::new(output.trim()).exists());

        let (listener, asked) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let url = format!("http://{}", listener.local_addr().unwrap());
        let noted = Arc::clone(&asked);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (files, noted) = (files.clone(), Arc::clone(&noted));
                thread::spawn(move || serve(&connection, &files, &noted));
            }
        });
        Self { url, public_key: fs::read_to_string(public).unwrap().trim().to_owned(), asked }
    }

    /// How many NARs were fetched.
    fn fetched(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.starts_with("/nar/")).count()
    }
}

fn run(command: &mut Command) -> String {
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{command:?}: {said}");
    String::from_utf8(ended.stdout).unwrap()
}

/// Answers the requests of a connection, one after the other.
fn serve(connection: &TcpStream, files: &Path, asked: &Mutex<Vec<String>>) {
    let (mut requests, mut answers) = (BufReader::new(connection), connection);
    loop {
        let mut request = String::new();
        if requests.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut header = String::new();
        while requests.read_line(&mut header).is_ok_and(|bytes| bytes > 2) {
            header.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        asked.lock().unwrap().push(path.clone());
        let (status, body) = match fs::read(files.join(path.trim_start_matches('/'))) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        if answers.write_all(head.as_bytes()).and_then(|()| answers.write_all(&body)).is_err() {
            return;
        }
    }
}

/// The trial's flake is the one above, and its cache looks into an upstream that has the library, with this key or its own.
fn prepare(trial: &Trial, key: Option<&str>) -> Upstream {
    let nonce = trial.repository.nonce().unwrap();
    let flake = FLAKE.replace("SYSTEM", &this_system()).replace("NONCE", nonce.trim());
    trial.repository.write("flake.nix", &flake).unwrap();
    trial.repository.commit("a library and what needs it").unwrap();
    let folder = trial.folder().join("upstream");
    let copy = folder.join("flake");
    fs::create_dir_all(&copy).unwrap();
    fs::write(copy.join("flake.nix"), &flake).unwrap();
    let upstream = Upstream::with(trial.nix(), &folder, &format!("path:{}", copy.display()));
    let body = json!({"display_name": "Upstream", "url": upstream.url, "public_key": key.unwrap_or(&upstream.public_key)});
    let cache = Installation::CACHE;
    trial.installation.api().put(&format!("/caches/{cache}/upstreams"), &body).unwrap();
    upstream
}

fn what_an_upstream_has_is_fetched(trial: &mut Trial) -> Outcome {
    let upstream = prepare(trial, None);
    let evaluation = trial.evaluate("checks", "application")?;
    assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed", "{:?}", evaluation.messages()?);
    let builds = evaluation.builds()?;
    let line = |build| Ok::<_, DeploymentError>((field(build, "name")?, field(build, "status")?));
    let mut found = builds.iter().map(line).collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    assert_eq!(found, [("application", "Completed"), ("library", "Substituted")]);
    // The library, and the data that it refers to.
    assert_eq!(upstream.fetched(), 2);
    let counts = evaluation.get()?.pointer("/builds/by_status").cloned().unwrap_or_default();
    assert_eq!((counts.get("Substituted"), counts.get("Completed")), (Some(&json!(1)), Some(&json!(1))), "{counts}");

    // Nothing more is fetched or built for the same.
    let again = trial.installation.evaluate("examples")?;
    assert_eq!(again.wait_for_end(LIMIT)?, "Completed");
    assert_eq!(upstream.fetched(), 2);

    // An entry point that is there is shown with its outputs, and readers of the cache get it from the upstream.
    trial.project("libraries", "packages", "library")?;
    let library = trial.installation.evaluate("libraries")?;
    assert_eq!(library.wait_for_end(LIMIT)?, "Completed");
    assert_eq!(field(&build(&library, "library")?, "status")?, "Substituted");
    let paths: Vec<String> = library.outputs()?.into_values().flatten().collect();
    assert_eq!(paths.len(), 1);
    trial.client("client", &upstream.public_key)?.substitute(&paths)
}

#[test]
fn what_an_upstream_has_is_fetched_on_sqlite() {
    Trial::usual().unwrap().run(what_an_upstream_has_is_fetched);
}

#[test]
fn what_an_upstream_has_is_fetched_on_postgres_with_a_newer_nix() {
    let Some(nix) = NixInstall::newer() else { return eprintln!("skipped: there is no newer Nix in /opt/nix/2.34") };
    let setting = Setting { database: Database::Postgres, nix, ..Setting::usual() };
    if let Some(trial) = Trial::start(&setting).unwrap() {
        trial.run(what_an_upstream_has_is_fetched);
    }
}

#[test]
fn what_another_key_has_signed_is_built() {
    Trial::usual().unwrap().run(|trial| {
        let upstream = prepare(trial, Some("upstream-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
        let evaluation = trial.evaluate("checks", "application")?;
        assert_eq!(evaluation.wait_for_end(LIMIT)?, "Completed", "{:?}", evaluation.messages()?);
        for name in ["application", "data", "library", "tool"] {
            assert_eq!(field(&build(&evaluation, name)?, "status")?, "Completed", "{name}");
        }
        assert_eq!(upstream.fetched(), 0);
        Ok(())
    });
}
