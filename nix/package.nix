# Both programs, with what the server runs (git and ssh) and what the worker runs (Nix and git) on their paths.
{ lib, rustPlatform, makeWrapper, git, nix, openssh, src }:

rustPlatform.buildRustPackage {
  pname = "gradient";
  version = (lib.importTOML ../Cargo.toml).workspace.package.version;
  inherit src;

  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [ "--package" "gradient-server" "--package" "gradient-worker" ];

  # The tests want real Nix with a store of its own and PostgreSQL: `cargo xtask test` runs them.
  doCheck = false;

  nativeBuildInputs = [ makeWrapper ];
  postInstall = ''
    wrapProgram $out/bin/gradient-server --suffix PATH : ${lib.makeBinPath [ git openssh ]}
    wrapProgram $out/bin/gradient-worker --suffix PATH : ${lib.makeBinPath [ git nix openssh ]}
  '';

  meta = {
    description = "Nix CI system with a binary cache built in";
    license = with lib.licenses; [ mit asl20 ];
    platforms = lib.platforms.linux;
    mainProgram = "gradient-server";
  };
}
