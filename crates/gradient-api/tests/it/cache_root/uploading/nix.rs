//! Real Nix uploads, and real Nix takes it back.

use std::{fs, process::Command};

use gradient_engine::NewPin;
use gradient_test_support::nix::{Installation, Store, installations};

use reqwest::Method;

use super::{
    super::{
        cache,
        private::key,
        substitution::{client, public_key, run},
    },
    world::World,
};

gradient_test_support::both_databases!(
    nix_copies_with_every_compression,
    nix_is_told_when_it_may_not,
    nix_copies_content_addressed_outputs,
    nix_copies_logs_and_signs,
);

/// A file, what refers to it with debugging information, and something content-addressed.
const PACKAGES: &str = r#"
let
  system = "x86_64-linux";
  make = name: script: extra: derivation ({ inherit name system; builder = "/bin/sh"; args = [ "-c" script ]; } // extra);
in rec {
  dep = make "dep" "echo building dep; echo dep > $out" { };
  app = make "app" ''
    mkdir -p $out/lib/debug/.build-id/ab
    echo ${dep} > $out/app
    echo ${fixed} > $out/fixed
    echo $out > $out/self
    echo elf > $out/lib/debug/.build-id/ab/cdef0123456789.debug
  '' { };
  floating = make "floating" "echo floating at $out > $out" { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
  above = make "above" "echo ${floating} > $out" { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
  fixed = make "fixed.txt" "echo -n fixed > $out" { outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = builtins.hashString "sha256" "fixed"; };
}
"#;

/// A store in which the packages are to be built.
struct Packages {
    nix: Installation,
    store: Store,
}

impl Packages {
    fn new(nix: Installation) -> Self {
        let store = Store::new("extra-experimental-features = ca-derivations").unwrap();
        fs::write(store.home().join("packages.nix"), PACKAGES).unwrap();
        Self { nix, store }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.store.command(&self.nix, program);
        command.args(arguments).current_dir(self.store.home());
        command
    }

    /// Builds one of them; its path.
    async fn build(&self, name: &str) -> String {
        let mut command = self.command("nix-build", &["packages.nix", "--no-out-link", "-A", name]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    async fn nix(&self, arguments: &[&str]) -> (bool, String) {
        run(self.command("nix", arguments)).await
    }
}

/// The cache with a password in its URL.
fn to(world: &World, password: &str) -> String {
    format!("{}/cache/store", world.server.url.replace("http://", &format!("http://user:{password}@")))
}

async fn nix_copies_with_every_compression(database: &str) {
    let world = World::start(database).await;
    for (number, nix) in installations().unwrap().into_iter().enumerate() {
        let packages = Packages::new(nix.clone());
        let app = packages.build("app").await;
        for compression in ["none", "xz", "zstd", "br", "bzip2", "gzip", "lz4", "lzip", "lzma"] {
            let name = format!("{compression}-{number}");
            cache(&world.server, world.owner, &name, true).await;
            let url = to(&world, &world.key).replace("/cache/store", &format!("/cache/{name}"));
            let url = format!("{url}?compression={compression}&write-nar-listing=1&index-debug-info=1");
            let (is_done, said) = packages.nix(&["copy", "--to", &url, &app]).await;
            assert!(is_done, "{compression}: {said}");
            takes(&world, &name, &nix, &app).await;
        }
    }
}

/// That a new client gets all of it.
async fn takes(world: &World, name: &str, nix: &Installation, app: &str) {
    let store = client(&world.server, name, &public_key(&world.server, name).await, "");
    let mut command = store.command(nix, "nix-store");
    command.args(["--realise", app]);
    let (is_done, said) = run(command).await;
    assert!(is_done, "{name}: {said}");
    let folder = store.root().join("nix/store");
    let app = app.trim_start_matches("/nix/store/");
    for (file, contents) in [("app", "dep\n"), ("fixed", "fixed")] {
        let path = fs::read_to_string(folder.join(app).join(file)).unwrap();
        assert_eq!(fs::read_to_string(folder.join(path.trim().trim_start_matches("/nix/store/"))).unwrap(), contents);
    }
    let (hash, _) = app.split_once('-').unwrap();
    let get = async |file: &str| world.send_to(name, Method::GET, file, "", Vec::new()).await.text;
    let listing = get(&format!("{hash}.ls")).await;
    assert!(listing.contains("\"narOffset\""), "{listing}");
    let debuginfo = get("debuginfo/abcdef0123456789.debug").await;
    assert!(debuginfo.contains("lib/debug/.build-id/ab/cdef0123456789.debug"), "{debuginfo}");
}

async fn nix_is_told_when_it_may_not(database: &str) {
    let world = World::start(database).await;
    let reader = key(&world.server, world.owner, &["readStore"], NewPin::Everywhere).await;
    for nix in installations().unwrap() {
        let packages = Packages::new(nix);
        let dep = packages.build("dep").await;
        let (hash, _) = dep.trim_start_matches("/nix/store/").split_once('-').unwrap();
        for (password, status) in [(reader.as_str(), "403"), ("wrong", "401")] {
            let (is_done, said) = packages.nix(&["copy", "--to", &to(&world, password), &dep]).await;
            assert!(!is_done && said.contains(status), "{said}");
            assert_eq!(world.get(&format!("{hash}.narinfo")).await.status.as_u16(), 404);
        }
    }
}

async fn nix_copies_content_addressed_outputs(database: &str) {
    let world = World::start(database).await;
    for (number, nix) in installations().unwrap().into_iter().enumerate() {
        // Each has a cache of its own: 2.8 and 2.34 do not agree on the address of what refers to itself.
        let name = format!("ca-{number}");
        cache(&world.server, world.owner, &name, true).await;
        let url = to(&world, &world.key).replace("/cache/store", &format!("/cache/{name}"));
        let public_key = public_key(&world.server, &name).await;
        let packages = Packages::new(nix.clone());
        let above = packages.build("above").await;
        let (is_done, said) = packages.nix(&["copy", "--to", &url, "-f", "packages.nix", "above"]).await;
        assert!(is_done, "{said}");

        // Somebody who builds nothing finds out from the cache what the output is.
        let store = client(&world.server, &name, &public_key, "extra-experimental-features = ca-derivations");
        fs::write(store.home().join("packages.nix"), PACKAGES).unwrap();
        let mut command = store.command(&nix, "nix-build");
        command.args(["packages.nix", "--no-out-link", "-A", "above"]).current_dir(store.home());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), above);
    }
}

async fn nix_copies_logs_and_signs(database: &str) {
    let world = World::start(database).await;
    for nix in installations().unwrap() {
        let packages = Packages::new(nix);
        let dep = packages.build("dep").await;
        let url = to(&world, &world.key);
        let (is_done, said) = packages.nix(&["copy", "--to", &url, &dep]).await;
        assert!(is_done, "{said}");
        let (is_done, said) = packages.nix(&["store", "copy-log", "--to", &url, "-f", "packages.nix", "dep"]).await;
        assert!(is_done, "{said}");
        let mut command = packages.command("nix", &["log", "--store", &url, &dep]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "building dep\n", "{}", String::from_utf8_lossy(&output.stderr));

        let (is_done, said) =
            run(packages.command("nix-store", &["--generate-binary-cache-key", "mine-1", "secret", "public"])).await;
        assert!(is_done, "{said}");
        let (is_done, said) = packages.nix(&["store", "sign", "--store", &url, "--key-file", "secret", &dep]).await;
        assert!(is_done, "{said}");
        let (hash, _) = dep.trim_start_matches("/nix/store/").split_once('-').unwrap();
        let shown = world.get(&format!("{hash}.narinfo")).await.text;
        assert!(shown.contains("Sig: mine-1:"), "{shown}");
    }
}
