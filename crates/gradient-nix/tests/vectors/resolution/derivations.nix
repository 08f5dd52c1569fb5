# Derivations whose inputs' paths are known only once those are built: content-addressed ones, and what needs them.
let
  mk = name: script: extra: derivation ({
    inherit name; system = "x86_64-linux"; builder = "/bin/sh"; PATH = "/bin:/usr/bin"; args = [ "-e" "-c" script ];
  } // extra);
  ca = { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
in rec {
  plain = mk "plain" "echo plain of the vectors > $out" { };
  below = mk "below" "echo below of the vectors $plain > $out; echo $out $dev > $dev" (ca // { outputs = [ "out" "dev" ]; inherit plain; });
  # One of its outputs is named in its arguments, and one in its environment only.
  chain = mk "chain" "mkdir $out; cat $dev ${below} > $out/file; ln -s $out/file $out/self" (ca // { inherit (below) dev; });
  flat = mk "flat" "read line < $dev; echo flat of the vectors > $out" (ca // { outputHashMode = "flat"; inherit (below) dev; });
  # Two inputs turn out to be the same path.
  same = mk "same" "echo $one $other > $out" (ca // {
    one = mk "twin" "echo twin of the vectors > $out" (ca // { way = "one"; });
    other = mk "twin" "echo twin of the vectors > $out" (ca // { way = "other"; });
  });
  deferred = mk "deferred" "echo $dep $plain > $out; echo lib $out > $lib" { dep = chain; inherit plain; outputs = [ "out" "lib" ]; };
  above = mk "above" "cat $lib > $out; echo ${flat} ${same} >> $out" { inherit (deferred) lib; };
  fixed = mk "fixed" "cat $dep > /dev/null; printf 'fixed content\\n' > $out" {
    dep = flat;
    outputHashMode = "flat"; outputHashAlgo = "sha256";
    outputHash = "adcf791ae2803c0c10f0dab9c430c39ac580bf95d6a834a248f4dedd72c69665";
  };
  structured = derivation (ca // {
    name = "structured"; system = "x86_64-linux"; builder = "/bin/sh"; __structuredAttrs = true;
    outputs = [ "out" ]; list = [ below "a \"quoted\" word" ]; nested = { inherit chain; };
    args = [ "-e" "-c" "PATH=/bin:/usr/bin; f=\${NIX_ATTRS_JSON_FILE:-.attrs.json}; o=\$(sed -n 's/.*\"outputs\":{\"out\":\"\\([^\"]*\\)\".*/\\1/p' \$f); echo structured > \$o" ];
  });
}
