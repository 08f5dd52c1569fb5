# What `cargo xtask test` and `cargo xtask demo` use.
{ mkShell, cargo, cargo-nextest, clippy, git, nix, openssh, pkgsStatic, postgresql, rust-analyzer, rustc, rustfmt }:

mkShell {
  packages = [
    cargo
    cargo-nextest
    clippy
    git
    nix
    openssh
    pkgsStatic.busybox
    postgresql
    rust-analyzer
    rustc
    rustfmt
  ];
}
