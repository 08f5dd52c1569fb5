//! Which routes share a limit.

/// A group of routes with a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// Where passwords and names can be guessed.
    Auth,
    /// The binary cache.
    Cache,
    /// Looking into what a cache holds.
    Inspect,
    /// Logs from a cache.
    Log,
    /// Everything else.
    Default,
    /// What is never limited: the workers' socket and the transfers beside it, which prove a session of their own.
    Exempt,
}

impl Tier {
    /// The tier of a path whose percent-encoding is decoded.
    pub(super) fn of(path: &str) -> Self {
        let mut segments = path.split('/').skip(1);
        match segments.next() {
            Some("proto") => Self::Exempt,
            Some("cache") => match segments.nth(1) {
                Some("ls" | "serve") => Self::Inspect,
                Some("log") => Self::Log,
                // The same as in `ls`, where other tools look for it.
                Some(name) if name.strip_suffix(".ls").is_some() && segments.next().is_none() => Self::Inspect,
                _ => Self::Cache,
            },
            Some("api") if path.starts_with("/api/v1/auth/") && path != "/api/v1/auth/logout" => Self::Auth,
            _ => Self::Default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_has_its_tier() {
        for (path, tier) in [
            ("/api/v1/auth/basic/login", Tier::Auth),
            ("/api/v1/auth/oidc/callback", Tier::Auth),
            ("/api/v1/auth/logout", Tier::Default),
            ("/api/v1/user", Tier::Default),
            ("/", Tier::Default),
            ("", Tier::Default),
            ("/cache/acme/nix-cache-info", Tier::Cache),
            ("/cache/acme/nar/x.nar.zst", Tier::Cache),
            ("/cache/log", Tier::Cache),
            ("/cache/acme/ls/x", Tier::Inspect),
            ("/cache/acme/x.ls", Tier::Inspect),
            ("/cache/acme/x.narinfo", Tier::Cache),
            ("/cache/acme/serve/x/bin/y", Tier::Inspect),
            ("/cache/acme/log/x.drv", Tier::Log),
            ("/proto", Tier::Exempt),
            ("/proto/jobs/build/x/1/missing", Tier::Exempt),
            ("/protocol", Tier::Default),
        ] {
            assert_eq!(Tier::of(path), tier, "{path}");
        }
    }
}
