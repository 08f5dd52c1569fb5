# `data` has outputs with what the programs of this machine are made of; `reader` needs all of them.
{ mib, count, nonce, system ? builtins.currentSystem }:
let
  numbers = builtins.genList (number: number) count;
  outputs = [ "out" ] ++ map (number: "part${toString number}") (builtins.tail numbers);
  bytes = toString (mib * 1024 * 1024);
  mk = name: script: extra: derivation ({
    inherit name system nonce;
    builder = "/bin/sh";
    PATH = "/bin:/usr/bin";
    args = [ "-e" "-c" script ];
  } // extra);
in
rec {
  data = mk "data" ''
    offset=1
    for output in $outputs; do
      eval "path=\$$output"
      { echo $nonce $output; find /usr/bin /usr/lib -type f -exec cat {} + 2> /dev/null | tail -c +$offset; } | head -c ${bytes} > $path
      offset=$((offset + ${bytes}))
    done
  '' { inherit outputs; };
  reader = mk "reader" "echo $inputs > $out" { inputs = map (output: data.${output}) outputs; };
}
