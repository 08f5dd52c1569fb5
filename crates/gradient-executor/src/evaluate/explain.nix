let
  flake = builtins.getFlake @FLAKE@;
  value = builtins.foldl' (set: name: builtins.getAttr name set) flake.outputs (builtins.fromJSON @PATH@);
in
# Without `tryEval`, so that the error shows.
if builtins.isAttrs value && (value.type or null) == "derivation" then builtins.seq value.drvPath null
else if builtins.isAttrs value then builtins.seq (builtins.attrNames value) null
else builtins.seq value null
