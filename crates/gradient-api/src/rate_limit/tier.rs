//! Which routes share a limit.

use actix_web::http::Method;

/// A group of routes with a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// Where passwords and names can be guessed.
    Auth,
    /// Where users prove that it is them with their own password, which a stolen session could guess.
    Password,
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
    /// The tier of a request for a path whose percent-encoding is decoded.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        if matches!((method, path), (&Method::DELETE, "/api/v1/user") | (&Method::PATCH, "/api/v1/user/password")) {
            return Self::Password;
        }
        let mut segments = path.split('/').skip(1);
        match segments.next() {
            Some("proto") => Self::Exempt,
            // What is uploaded comes in thousands, beside what Nix asks while it does that.
            Some("cache") if method != Method::GET && method != Method::HEAD => Self::Cache,
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
            assert_eq!(Tier::of(&Method::GET, path), tier, "{path}");
        }
        assert_eq!(Tier::of(&Method::PUT, "/cache/acme/x.ls"), Tier::Cache);
        assert_eq!(Tier::of(&Method::DELETE, "/api/v1/user"), Tier::Password);
        assert_eq!(Tier::of(&Method::PATCH, "/api/v1/user/password"), Tier::Password);
        assert_eq!(Tier::of(&Method::DELETE, "/api/v1/user/keys"), Tier::Default);
    }
}
