# Packages as a large package set makes them: functions of other packages that can be overridden, a builder that looks at every
# input and at what a package says of itself, and some thirty variables for each derivation.
#
# `nonce` makes all derivations new, `builds` is a list of `[name, system, fixed output, inputs]`, `attributes` a list of `[attribute, build]`.
{ nonce, builds, attributes }:
let
  inherit (builtins) attrNames concatLists concatStringsSep elem elemAt filter genList isAttrs isList isString length listToAttrs map;

  optional = wanted: value: if wanted then [ value ] else [ ];
  unique = builtins.foldl' (known: value: if elem value known then known else known ++ [ value ]) [ ];
  filterAttrs = wanted: set:
    listToAttrs (concatLists (map (name: optional (wanted name set.${name}) { inherit name; value = set.${name}; }) (attrNames set)));

  makeOverridable = make: arguments:
    let made = make arguments;
    in made // {
      override = changed: makeOverridable make (arguments // changed);
      overrideAttrs = change: makeOverridable (arguments: (make arguments).overrideAttrs change) arguments;
    };

  fieldTypes = {
    description = isString; homepage = isString; license = isAttrs; maintainers = isList; platforms = isList; broken = builtins.isBool;
  };
  platforms = concatLists (map (cpu: map (kernel: "${cpu}-${kernel}") [ "linux" "darwin" "freebsd" ]) [ "x86_64" "i686" "aarch64" "armv7l" ]);
  checkMeta = system: meta:
    let
      wrong = filter (field: !(fieldTypes ? ${field}) || !(fieldTypes.${field} meta.${field})) (attrNames meta);
      unfit = (meta.broken or false) || !(elem system (unique (meta.platforms or platforms) ++ [ "builtin" system ]));
    in
    if wrong != [ ] then throw "the meta-attributes ${toString wrong} are wrong" else !unfit;

  phases = [ "unpack" "patch" "configure" "build" "check" "install" "fixup" "installCheck" "dist" ];
  hooks = concatLists (map (phase: [ "pre${phase}" "post${phase}" "${phase}Flags" ]) phases);

  # Inputs and what they bring with them, as the hooks of a builder need them.
  propagated = inputs: unique (map (input: input.pname) (concatLists (map (input: [ input ] ++ input.propagatedBuildInputs) inputs)));

  mkDerivation = attributes:
    let
      inputs = attributes.nativeBuildInputs ++ attributes.buildInputs;
      hooked = listToAttrs (map (name: { inherit name; value = attributes.${name} or null; }) hooks);
      environment = filterAttrs (_: value: value != null) hooked // removeAttrs attributes [ "meta" "passthru" "pname" "version" ] // {
        name = "${attributes.pname}-${attributes.version}";
        builder = "/bin/sh";
        inherit nonce;
        args = [ "-e" ./packages.nix ];
        depsPropagated = concatStringsSep " " (propagated inputs);
        configureFlags = concatStringsSep " " (map (flag: "--enable-${flag}") (attributes.configureFlags ++ map (input: input.pname) inputs));
        userHook = null;
      };
      valid = checkMeta attributes.system attributes.meta;
    in
    (if valid then derivation environment else throw "${attributes.pname} cannot be built for ${attributes.system}")
    // attributes.passthru // {
      inherit (attributes) meta pname version propagatedBuildInputs;
      overrideAttrs = change: mkDerivation (attributes // change attributes);
    };

  fetch = { pname, version, system, inputs }: mkDerivation {
    inherit pname version system;
    nativeBuildInputs = inputs;
    buildInputs = [ ];
    propagatedBuildInputs = [ ];
    configureFlags = [ ];
    urls = map (mirror: "https://${mirror}.example.org/${pname}") [ "one" "two" "three" ];
    outputHashMode = "flat";
    outputHashAlgo = "sha256";
    outputHash = builtins.hashString "sha256" pname;
    preferLocalBuild = true;
    passthru = { };
    meta = { };
  };

  package = { pname, version, system, inputs }: mkDerivation {
    inherit pname version system;
    nativeBuildInputs = filter (input: input ? outputHash) inputs;
    buildInputs = filter (input: !(input ? outputHash)) inputs;
    propagatedBuildInputs = genList (elemAt inputs) (if length inputs > 3 then 2 else 0);
    configureFlags = [ "shared" "threads" "nls" "largefile" ];
    prepatch = "substituteInPlace Makefile --replace /usr/local ${builtins.placeholder "out"}\n";
    postinstall = concatStringsSep "\n" (map (phase: "echo ${phase} of ${pname} has ended") phases);
    makeFlags = [ "PREFIX=${builtins.placeholder "out"}" "VERSION=${version}" ];
    enableParallelBuilding = true;
    strictDeps = false;
    doCheck = false;
    passthru = { tests = { }; updateScript = null; };
    meta = {
      description = "The package ${pname}";
      homepage = "https://example.org/${pname}";
      license = { shortName = "mit"; free = true; };
      maintainers = [ "somebody" ];
      inherit platforms;
      broken = false;
    };
  };

  make = number: build:
    let
      parsed = builtins.parseDrvName (elemAt build 0);
    in
    makeOverridable (if elemAt build 2 then fetch else package) {
      # No two are the same derivation.
      pname = "${if parsed.name == "" then "source" else parsed.name}-${toString number}";
      version = if parsed.version == "" then "1" else parsed.version;
      system = elemAt build 1;
      inputs = map (elemAt all) (elemAt build 3);
    };
  all = genList (number: make number (elemAt builds number)) (length builds);
in
listToAttrs (map (attribute: { name = elemAt attribute 0; value = elemAt all (elemAt attribute 1); }) attributes)
