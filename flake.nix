{
  description = "Gradient: a Nix CI system with a binary cache built in";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      each = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      packages = each (pkgs: rec {
        gradient = pkgs.callPackage ./nix/package.nix { src = self; };
        default = gradient;
      });

      devShells = each (pkgs: {
        default = pkgs.callPackage ./nix/shell.nix { };
      });

      nixosModules = {
        server = import ./nix/server.nix { gradient = self.packages; };
        worker = import ./nix/worker.nix { gradient = self.packages; };
      };
    };
}
