# A worker as a NixOS service. It builds with the machine's Nix daemon, which has to trust it.
{ gradient }:
{ config, lib, pkgs, ... }:

let
  cfg = config.services.gradient-worker;
  inherit (lib) mkEnableOption mkIf mkOption types;
  word = value: if value then "true" else "false";
in
{
  options.services.gradient-worker = {
    enable = mkEnableOption "a Gradient worker";

    package = mkOption {
      type = types.package;
      default = gradient.${pkgs.stdenv.hostPlatform.system}.default;
      defaultText = "the package of Gradient's flake";
      description = "The package with the program gradient-worker.";
    };

    serverUrl = mkOption {
      type = types.str;
      example = "wss://gradient.example.org/proto";
      description = "The server's socket for workers.";
    };

    peersFile = mkOption {
      type = types.path;
      description = ''
        A file with one `<peer id>:<token>` a line, as the server gave them when the worker was registered. It should not be
        readable by others; systemd reads it as root and hands it on.
      '';
    };

    workerId = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "The worker's UUID (version 4). It makes one on its first start when this is null.";
    };

    maxConcurrentBuilds = mkOption {
      type = types.ints.positive;
      default = 2;
      description = "How many builds run at a time.";
    };

    fetch = mkOption {
      type = types.bool;
      default = true;
      description = "Whether it fetches sources.";
    };

    evaluate = mkOption {
      type = types.bool;
      default = true;
      description = "Whether it evaluates flakes.";
    };

    build = mkOption {
      type = types.bool;
      default = true;
      description = "Whether it builds.";
    };

    signingKeyFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = ''
        A file with the secret keys that the worker signs with for caches whose key the server does not have; it signs nothing when
        this is null. It should not be readable by others; systemd reads it as root and hands it on.
      '';
    };

    settings = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "Further settings, as `gradient-worker --help` names their environment variables.";
    };
  };

  config = mkIf cfg.enable {
    users.users.gradient-worker = {
      isSystemUser = true;
      group = "gradient-worker";
    };
    users.groups.gradient-worker = { };

    # Only trusted users may build a derivation that is not in the store.
    nix.settings.trusted-users = [ "gradient-worker" ];
    nix.settings.experimental-features = [ "nix-command" "flakes" ];

    systemd.services.gradient-worker = {
      description = "Gradient worker";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" "nix-daemon.socket" ];

      environment = {
        GRADIENT_WORKER_SERVER_URL = cfg.serverUrl;
        GRADIENT_WORKER_BASE_DIR = "/var/lib/gradient-worker";
        GRADIENT_WORKER_PEERS_FILE = "%d/peers";
        GRADIENT_WORKER_MAX_CONCURRENT_BUILDS = toString cfg.maxConcurrentBuilds;
        GRADIENT_WORKER_CAPABILITIES_FETCH = word cfg.fetch;
        GRADIENT_WORKER_CAPABILITIES_EVAL = word cfg.evaluate;
        GRADIENT_WORKER_CAPABILITIES_BUILD = word cfg.build;
        HOME = "/var/lib/gradient-worker";
        NIX_REMOTE = "daemon";
      }
      // lib.optionalAttrs (cfg.workerId != null) { GRADIENT_WORKER_ID = cfg.workerId; }
      // lib.optionalAttrs (cfg.signingKeyFile != null) {
        GRADIENT_WORKER_CAPABILITIES_SIGN = "true";
        GRADIENT_WORKER_SIGNING_KEY_FILE = "%d/signing-keys";
      }
      // cfg.settings;

      serviceConfig = {
        ExecStart = "${cfg.package}/bin/gradient-worker";
        LoadCredential = [
          "peers:${cfg.peersFile}"
        ]
        ++ lib.optional (cfg.signingKeyFile != null) "signing-keys:${cfg.signingKeyFile}";
        User = "gradient-worker";
        Group = "gradient-worker";
        StateDirectory = "gradient-worker";
        StateDirectoryMode = "0700";
        Restart = "on-failure";
        # Code 2 means wrong settings: trying again does not help.
        RestartPreventExitStatus = 2;
        TimeoutStopSec = "10min";

        PrivateTmp = true;
        ProtectHome = true;
        ProtectSystem = "full";
        RestrictSUIDSGID = true;
      };
    };
  };
}
