let
  flake = builtins.getFlake @FLAKE@;
  queries = builtins.fromJSON @QUERIES@;

  # Says something at once: the reader follows while this evaluates.
  say = text: builtins.trace "@MARK@ ${text}" null;

  kind = value:
    if !builtins.isAttrs value then builtins.typeOf value
    else if (value.type or null) == "derivation" then "derivation"
    else "set";

  enter = at: name:
    if at.kind == "throws" || at.kind == "missing" then at
    else if at.kind != "set" || !(builtins.hasAttr name at.value) then at // { kind = "missing"; }
    else
      let
        value = builtins.getAttr name at.value;
        found = builtins.tryEval (kind value);
      in
      { kind = if found.success then found.value else "throws"; depth = at.depth + 1; inherit value; };

  start = { kind = "set"; depth = 0; value = flake.outputs; };

  # Seconds that a package's meta allows its builder; nothing when it says something else.
  seconds = value: name:
    let asked = builtins.tryEval (value.meta.${name} or null);
    in if asked.success && builtins.isInt asked.value && asked.value > 0 then asked.value else null;

  answer = query:
    let
      at = builtins.foldl' enter start query.path;
      drv = builtins.tryEval (builtins.unsafeDiscardStringContext "${at.value.drvPath}");
      names = builtins.tryEval (builtins.attrNames at.value);
      failed = { kind = "throws"; inherit (at) depth; };
    in
    if at.kind == "derivation" && query.derivation then
      (if drv.success then {
        inherit (at) kind depth;
        drv = drv.value;
        timeout = seconds at.value "timeout";
        silent = seconds at.value "maxSilent";
      } else failed)
    else if at.kind == "set" && query.names then
      (if names.success then { inherit (at) kind depth; names = names.value; } else failed)
    else { inherit (at) kind depth; };

  step = number: query:
    builtins.seq (say "begin ${toString number}")
      (builtins.seq (say "end ${toString number} ${builtins.toJSON (answer query)}") (number + 1));
in
builtins.seq (builtins.seq (builtins.attrNames flake.outputs) (say "ready")) (builtins.foldl' step 0 queries)
