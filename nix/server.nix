# The server as a NixOS service. Secrets are given as files, which systemd reads as root and hands on; what is not set, the
# server makes itself on its first start, in its state directory.
{ gradient }:
{ config, lib, pkgs, ... }:

let
  cfg = config.services.gradient-server;
  inherit (lib) mkEnableOption mkIf mkOption optional optionalAttrs types;
  secret = file: name: optional (file != null) "${name}:${file}";
in
{
  options.services.gradient-server = {
    enable = mkEnableOption "the Gradient server";

    package = mkOption {
      type = types.package;
      default = gradient.${pkgs.stdenv.hostPlatform.system}.default;
      defaultText = "the package of Gradient's flake";
      description = "The package with the program gradient-server.";
    };

    listenAddress = mkOption {
      type = types.str;
      default = "127.0.0.1";
      description = "The address to listen on.";
    };

    port = mkOption {
      type = types.port;
      default = 3000;
      description = "The port to listen on.";
    };

    serveUrl = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "https://gradient.example.org";
      description = "The URL under which clients and workers reach the server.";
    };

    databaseUrlFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "A file with the URL of the PostgreSQL database. Embedded SQLite when it is null.";
    };

    jwtSecretFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "A file with the secret that signs sessions.";
    };

    cryptSecretFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "A file with the secret that seals the keys in the database.";
    };

    enableRegistration = mkOption {
      type = types.bool;
      default = true;
      description = "Whether everybody may register.";
    };

    settings = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = { GRADIENT_GLOBAL_STATS_PUBLIC = "true"; };
      description = "Further settings, as `gradient-server --help` names their environment variables.";
    };
  };

  config = mkIf cfg.enable {
    systemd.services.gradient-server = {
      description = "Gradient server";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" "postgresql.service" ];

      environment = {
        GRADIENT_LISTEN_ADDR = cfg.listenAddress;
        GRADIENT_PORT = toString cfg.port;
        GRADIENT_BASE_DIR = "/var/lib/gradient";
        GRADIENT_ENABLE_REGISTRATION = if cfg.enableRegistration then "true" else "false";
      }
      // optionalAttrs (cfg.serveUrl != null) { GRADIENT_SERVE_URL = cfg.serveUrl; }
      // optionalAttrs (cfg.databaseUrlFile != null) { GRADIENT_DATABASE_URL_FILE = "%d/database-url"; }
      // optionalAttrs (cfg.jwtSecretFile != null) { GRADIENT_JWT_SECRET_FILE = "%d/jwt-secret"; }
      // optionalAttrs (cfg.cryptSecretFile != null) { GRADIENT_CRYPT_SECRET_FILE = "%d/crypt-secret"; }
      // cfg.settings;

      serviceConfig = {
        ExecStart = "${cfg.package}/bin/gradient-server";
        LoadCredential =
          secret cfg.databaseUrlFile "database-url"
          ++ secret cfg.jwtSecretFile "jwt-secret"
          ++ secret cfg.cryptSecretFile "crypt-secret";
        DynamicUser = true;
        StateDirectory = "gradient";
        StateDirectoryMode = "0700";
        Restart = "on-failure";
        # Code 2 means wrong settings: trying again does not help.
        RestartPreventExitStatus = 2;
        TimeoutStopSec = "2min";

        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        PrivateDevices = true;
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        RestrictAddressFamilies = [ "AF_INET" "AF_INET6" "AF_UNIX" ];
        RestrictNamespaces = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
      };
    };
  };
}
