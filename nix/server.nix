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

    tls = {
      certificateFile = mkOption {
        type = types.nullOr types.path;
        default = null;
        description = "A file with the server's certificate and those that vouch for it. Plain HTTP when it is null.";
      };

      keyFile = mkOption {
        type = types.nullOr types.path;
        default = null;
        description = "A file with the key of the certificate.";
      };
    };

    s3 = {
      bucket = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "The bucket for NARs and logs. The state directory when it is null.";
      };

      endpoint = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "https://s3.example.org";
        description = "The URL of the bucket's server. Amazon's in the region when it is null.";
      };

      region = mkOption {
        type = types.str;
        default = "us-east-1";
        description = "The region of the bucket.";
      };

      prefix = mkOption {
        type = types.str;
        default = "";
        example = "gradient";
        description = "The folder of the bucket that everything is in, and nothing else.";
      };

      accessKeyId = mkOption {
        type = types.str;
        default = "";
        description = "The id of the access key.";
      };

      secretAccessKeyFile = mkOption {
        type = types.nullOr types.path;
        default = null;
        description = "A file with the secret of the access key.";
      };

      presign = mkOption {
        type = types.bool;
        default = false;
        description = "Whether clients of a binary cache are sent to the bucket's server for NARs.";
      };
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
      // optionalAttrs (cfg.tls.certificateFile != null) { GRADIENT_TLS_CERTIFICATE_FILE = "%d/tls-certificate"; }
      // optionalAttrs (cfg.tls.keyFile != null) { GRADIENT_TLS_KEY_FILE = "%d/tls-key"; }
      // optionalAttrs (cfg.s3.bucket != null) {
        GRADIENT_S3_BUCKET = cfg.s3.bucket;
        GRADIENT_S3_REGION = cfg.s3.region;
        GRADIENT_S3_PREFIX = cfg.s3.prefix;
        GRADIENT_S3_ACCESS_KEY_ID = cfg.s3.accessKeyId;
        GRADIENT_S3_SECRET_ACCESS_KEY_FILE = "%d/s3-secret-access-key";
        GRADIENT_S3_PRESIGN = if cfg.s3.presign then "true" else "false";
      }
      // optionalAttrs (cfg.s3.bucket != null && cfg.s3.endpoint != null) { GRADIENT_S3_ENDPOINT = cfg.s3.endpoint; }
      // cfg.settings;

      serviceConfig = {
        ExecStart = "${cfg.package}/bin/gradient-server";
        LoadCredential =
          secret cfg.databaseUrlFile "database-url"
          ++ secret cfg.jwtSecretFile "jwt-secret"
          ++ secret cfg.cryptSecretFile "crypt-secret"
          ++ secret cfg.s3.secretAccessKeyFile "s3-secret-access-key"
          ++ secret cfg.tls.certificateFile "tls-certificate"
          ++ secret cfg.tls.keyFile "tls-key";
        DynamicUser = true;
        StateDirectory = "gradient";
        StateDirectoryMode = "0700";
        Restart = "on-failure";
        # More often, systemd would give up while the database is away.
        RestartSec = 5;
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
