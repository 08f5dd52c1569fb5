# What the vectors are made of: one derivation of every kind that is told apart, and a tree with every kind of file.
let
  mk = name: script: extra: derivation ({
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    PATH = "/bin:/usr/bin";
    args = [ "-e" "-c" script ];
  } // extra);
in rec {
  source = builtins.toFile "source.txt" "a source\n";
  fixed-flat = mk "fixed-flat.txt" "printf 'fixed content\\n' > $out" {
    outputHashMode = "flat"; outputHashAlgo = "sha256";
    outputHash = "adcf791ae2803c0c10f0dab9c430c39ac580bf95d6a834a248f4dedd72c69665";
  };
  fixed-recursive = mk "fixed-rec" "mkdir $out; printf 'x\\n' > $out/x" {
    outputHashMode = "recursive"; outputHashAlgo = "sha256";
    outputHash = "sha256:0x8rfwm8ahk1g7chxpm8ij2nhvzxiryknb33py3dha2qxw5fkgr9";
  };
  builtin-fetch = derivation {
    name = "greeting.txt"; system = "builtin"; builder = "builtin:fetchurl"; preferLocalBuild = true;
    url = "file://${source}"; urls = [ "file://${source}" ];
    outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "9001cd7d53c42fbda367c94ea9fdc2b5bb4321f9695b10a6fd6da8c28bdabd94";
    executable = false; unpack = false;
  };
  fixed-on-built = mk "fixed-on-built" "printf same > $out" {
    tool = base;
    outputHashMode = "flat"; outputHashAlgo = "sha512";
    outputHash = builtins.hashString "sha512" "same";
  };
  base = mk "base" "echo base > $out" { };
  multi = mk "multi-output-2.0" ''
    mkdir -p $out/bin $dev/include
    echo '#define M "1\t"' > $dev/include/m.h
    echo $dev > $out/devref
  '' { outputs = [ "out" "dev" "doc" ]; inherit source; };
  top = mk "top" "echo $dev $doc $fixed $base > $out" {
    inherit base; dev = multi.dev; doc = multi.doc; fixed = fixed-flat;
    requiredSystemFeatures = [ "kvm" "big-parallel" ]; preferLocalBuild = true; allowSubstitutes = false;
  };
  structured = derivation {
    name = "structured-attrs"; system = "aarch64-linux"; builder = "/bin/sh"; __structuredAttrs = true;
    outputs = [ "out" "lib" ]; list = [ "a" "b c" ]; nested = { k = 1; f = 1.5; t = true; inherit top; };
    requiredSystemFeatures = [ "nixos-test" ]; preferLocalBuild = true; allowSubstitutes = true;
    args = [ "-c" "exit 1" ];
  };
  floating = mk "floating" "echo ca > $out" { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
  on-floating = mk "on-floating" "cat $dep > $out" { dep = floating; };
  impure = mk "impure" "date > $out" { __impure = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };

  tree = mk "tree" ''
    mkdir -p $out/bin $out/lib/deep/er $out/empty-dir $out/nix-support
    printf '#!/bin/sh\necho %s\n' $base > $out/bin/run; chmod +x $out/bin/run
    printf "" > $out/empty; printf 'sp ace' > "$out/sp ace"; printf '12345678' > $out/lib/eight
    printf 'x' > $out/lib/deep/er/x; ln -s ../bin/run $out/lib/link; ln -s $base $out/base
    ln -s $out/bin $out/self; printf 'u' > "$out/ü"
  '' { inherit base; };
}
