# Each derivation says in its log where it begins, counts lines while it sleeps, and says at the end how many they were.
#
# Each run of a builder writes a stamp of its own into all of its outputs, and copies the stamps of its inputs. So it can be told
# whether what was published is of one run, and was built with what was published.
{ system, nonce }:
let
  numbers = from: to: builtins.genList (number: from + number) (to - from);
  each = make: list: builtins.listToAttrs (map (number: let value = make number; in { name = value.name; inherit value; }) list);

  mk = name: { lines ? 4, pause ? "0.1", inputs ? [ ], ends ? "", outputs ? [ "out" ] }: derivation {
    inherit name system nonce lines pause inputs outputs;
    builder = "/bin/sh";
    PATH = "/bin:/usr/bin";
    args = [ "-e" "-c" ''
      echo "begin $name"
      line=0
      while [ $line -lt $lines ]; do echo "line $line"; sleep $pause; line=$((line + 1)); done
      echo "end $name after $lines"
      ${ends}
      stamp=$(od -An -N16 -tx1 /dev/urandom | tr -d ' ')
      for name in $outputs; do
        eval "output=\$$name"
        mkdir -p $output/inputs
        echo $stamp > $output/stamp
        for input in $inputs; do cp $input/stamp $output/inputs/''${input##*/}; done
      done
      # What takes a while to be sent.
      head -c 300000 /dev/urandom > $out/bytes
    '' ];
  };

  wide = each (number: mk "wide-${toString number}" { lines = 2 + number - number / 5 * 5; }) (numbers 0 24);
  chain = builtins.foldl' (before: number: before ++ [ (mk "chain-${toString number}" { lines = 2; inputs = [ (builtins.elemAt before (number - 1)) ]; }) ])
    [ (mk "chain-0" { lines = 2; }) ] (numbers 1 8);
  multi = each (number: mk "multi-${toString number}" { outputs = [ "out" "dev" "doc" ]; inputs = [ wide."wide-${toString number}" ]; }) (numbers 0 5);
  large = each (number: mk "large-${toString number}" { ends = "mkdir $out; head -c 6000000 /dev/urandom > $out/more"; }) (numbers 0 2);
  failing = mk "failing" { ends = "exit 3"; };
  fixed = derivation {
    inherit system;
    name = "fixed-${nonce}";
    builder = "/bin/sh";
    PATH = "/bin:/usr/bin";
    args = [ "-e" "-c" "echo begin fixed; echo end fixed after 0; mkdir $out; printf 'x\\n' > $out/x" ];
    outputHashMode = "recursive";
    outputHash = "sha256:0x8rfwm8ahk1g7chxpm8ij2nhvzxiryknb33py3dha2qxw5fkgr9";
  };
in
wide // multi // large // each (number: builtins.elemAt chain number) (numbers 0 8) // {
  inherit failing fixed;
  needs-failing = mk "needs-failing" { inputs = [ failing wide.wide-0 ]; };
  needs-needs-failing = mk "needs-needs-failing" { inputs = [ (mk "needs-failing" { inputs = [ failing wide.wide-0 ]; }) ]; };
  needs-many = mk "needs-many" { inputs = builtins.attrValues wide ++ [ multi.multi-0 (builtins.elemAt chain 7) ]; };
}
