{
  description = "Derivations that take long enough to be interrupted";
  outputs = { self }: {
    packages = builtins.mapAttrs
      (system: _: import ./packages.nix { inherit system; nonce = builtins.readFile ./nonce; })
      { x86_64-linux = null; aarch64-linux = null; };
  };
}
