//! The client against real daemons: every Nix that is installed, each test in a store of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod build;
mod recorded;
mod store;

use std::{process::Output, time::Duration};

use gradient_nix::{Derivation, StorePath};
use gradient_nix_daemon::{Connection, Daemon, Options};
use gradient_test_support::nix::{Installation, Store, installations};

/// Runs a test with each Nix, in a store of its own, and gives up after a minute.
async fn with_each_nix(test: impl AsyncFn(&World)) {
    with_each_nix_set_to("", test).await;
}

/// The same with further lines of nix.conf.
async fn with_each_nix_set_to(settings: &str, test: impl AsyncFn(&World)) {
    for nix in installations().unwrap() {
        println!("with {}", nix.bin.display());
        let world = World { nix, store: Store::new(settings).unwrap() };
        tokio::time::timeout(Duration::from_mins(1), test(&world)).await.unwrap();
    }
}

/// One Nix and one store.
struct World {
    nix: Installation,
    store: Store,
}

impl World {
    fn daemon(&self) -> Daemon {
        let daemon = Daemon::new(self.nix.program("nix-daemon"));
        self.store.environment().into_iter().fold(daemon, |daemon, (name, value)| daemon.env(name, value))
    }

    async fn connect(&self) -> Connection {
        let mut connection = self.daemon().connect().await.unwrap();
        connection.set_options(&Options { max_log_bytes: Some(10_000), ..Options::default() }).await.unwrap();
        connection
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let output = self.store.command(&self.nix, program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Adds a file with this content to the store.
    fn add(&self, name: &str, content: &str) -> StorePath {
        let file = self.store.home().join(name);
        std::fs::write(&file, content).unwrap();
        let output = self.run("nix-store", &["--add", file.to_str().unwrap()]);
        StorePath::from_absolute(std::str::from_utf8(&output.stdout).unwrap().trim()).unwrap()
    }

    /// A derivation with these outputs that runs a script; `more` are further attributes in the Nix language.
    fn derivation(&self, name: &str, script: &str, more: &str) -> (StorePath, Derivation) {
        let expression = format!(
            "derivation {{ name = \"{name}\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; PATH = \"/bin\";
               args = [ \"-e\" \"-c\" ''{script}'' ]; {more} }}"
        );
        let output = self.run("nix-instantiate", &["-E", &expression]);
        let path = StorePath::from_absolute(std::str::from_utf8(&output.stdout).unwrap().trim()).unwrap();
        let file = self.store.root().join(path.to_absolute().trim_start_matches('/'));
        let derivation = Derivation::from_aterm_bytes(&std::fs::read(file).unwrap(), name).unwrap();
        (path, derivation)
    }
}
