//! Every endpoint, with the permission it needs.

/// An endpoint.
pub(super) struct Row {
    pub(super) method: &'static str,
    /// Below `/api/v1`, or below the root when it begins with `/cache/`.
    path: &'static str,
    /// As `x-gradient-permission` tells it.
    pub(super) permission: &'static str,
    /// What it needs besides.
    pub(super) also: &'static [&'static str],
    /// Whether the thing is there in the sweep; a 404 is no refusal where it is not.
    pub(super) is_there: bool,
}

impl Row {
    const fn and(mut self, also: &'static [&'static str]) -> Self {
        self.also = also;
        self
    }

    const fn of_nothing(mut self) -> Self {
        self.is_there = false;
        self
    }

    pub(super) fn full_path(&self) -> String {
        if self.path.starts_with("/cache/") { self.path.to_owned() } else { format!("/api/v1{}", self.path) }
    }
}

const fn row(method: &'static str, path: &'static str, permission: &'static str) -> Row {
    Row { method, path, permission, also: &[], is_there: true }
}

pub(super) const TABLE: &[Row] = &[
    row("GET", "/health", "none"),
    row("GET", "/config", "none"),
    row("GET", "/openapi.json", "none"),
    row("GET", "/admin/workers", "superuser"),
    row("POST", "/auth/basic/register", "none"),
    row("POST", "/auth/basic/login", "none"),
    row("POST", "/auth/check-username", "none"),
    row("GET", "/auth/verify-email", "none"),
    row("POST", "/auth/resend-verification", "none"),
    row("POST", "/auth/oauth/authorize", "none"),
    row("GET", "/auth/oidc/login", "none"),
    row("GET", "/auth/oidc/callback", "none"),
    row("POST", "/auth/logout", "none"),
    row("GET", "/user", "signedIn"),
    row("DELETE", "/user", "session"),
    row("PATCH", "/user/password", "session"),
    row("GET", "/user/settings", "signedIn"),
    row("PATCH", "/user/settings", "session"),
    row("GET", "/user/keys", "session"),
    row("POST", "/user/keys", "session"),
    row("DELETE", "/user/keys", "session"),
    row("GET", "/user/keys/permissions", "signedIn"),
    row("PATCH", "/user/keys/{id}", "session"),
    row("GET", "/orgs", "signedIn"),
    row("PUT", "/orgs", "signedIn"),
    row("GET", "/orgs/{org}", "viewOrg"),
    row("PATCH", "/orgs/{org}", "manageOrgSettings"),
    row("DELETE", "/orgs/{org}", "deleteOrg"),
    row("GET", "/orgs/{org}/ssh", "viewOrg"),
    row("POST", "/orgs/{org}/ssh", "manageSshKey"),
    row("GET", "/orgs/{org}/users", "viewOrg"),
    row("POST", "/orgs/{org}/users", "manageMembers"),
    row("PATCH", "/orgs/{org}/users", "manageMembers"),
    row("DELETE", "/orgs/{org}/users", "manageMembers"),
    row("GET", "/orgs/{org}/roles", "viewOrg"),
    row("POST", "/orgs/{org}/roles", "manageRoles"),
    row("PATCH", "/orgs/{org}/roles/{id}", "manageRoles").and(&["viewOrg"]),
    row("DELETE", "/orgs/{org}/roles/{id}", "manageRoles").and(&["viewOrg"]),
    row("GET", "/orgs/{org}/subscribe", "viewOrg"),
    row("POST", "/orgs/{org}/subscribe/{cache}", "manageSubscriptions").and(&["viewCache", "manageCacheSubscriptions"]),
    row("DELETE", "/orgs/{org}/subscribe/{cache}", "manageSubscriptions"),
    row("GET", "/orgs/{org}/workers", "viewOrg"),
    row("POST", "/orgs/{org}/workers", "manageWorkers"),
    row("PATCH", "/orgs/{org}/workers/{worker}", "manageWorkers"),
    row("DELETE", "/orgs/{org}/workers/{worker}", "manageWorkers"),
    row("GET", "/projects/{org}", "viewOrg"),
    row("PUT", "/projects/{org}", "createProject"),
    row("GET", "/projects/{org}/{project}", "viewOrg"),
    row("PATCH", "/projects/{org}/{project}", "editProject"),
    row("DELETE", "/projects/{org}/{project}", "editProject"),
    row("GET", "/projects/{org}/{project}/details", "viewOrg"),
    row("GET", "/projects/{org}/{project}/evaluations", "viewOrg"),
    row("GET", "/projects/{org}/{project}/entry-points", "viewOrg"),
    row("POST", "/projects/{org}/{project}/check-repository", "editProject"),
    row("POST", "/projects/{org}/{project}/evaluate", "triggerEvaluation"),
    row("POST", "/projects/{org}/{project}/active", "editProject"),
    row("DELETE", "/projects/{org}/{project}/active", "editProject"),
    row("GET", "/evals/{id}", "viewOrg"),
    row("POST", "/evals/{id}", "triggerEvaluation"),
    row("GET", "/evals/{id}/builds", "viewOrg"),
    row("POST", "/evals/{id}/builds", "viewOrg"),
    row("GET", "/evals/{id}/messages", "viewOrg"),
    row("GET", "/builds/{id}", "viewOrg"),
    row("GET", "/builds/{id}/log", "viewOrg"),
    row("POST", "/builds/{id}/log", "viewOrg"),
    row("GET", "/builds/{id}/graph", "viewOrg"),
    row("GET", "/builds/{id}/dependencies", "viewOrg"),
    row("GET", "/builds/{id}/why", "viewOrg"),
    row("GET", "/builds/{id}/downloads", "viewOrg"),
    row("GET", "/builds/{id}/download-token", "viewOrg"),
    row("GET", "/builds/{id}/download/{filename}", "viewOrg").of_nothing(),
    row("POST", "/builds", "triggerEvaluation"),
    row("GET", "/builds/direct/recent", "signedIn"),
    row("GET", "/commits/{id}", "viewOrg"),
    row("GET", "/caches", "signedIn"),
    row("PUT", "/caches", "signedIn"),
    row("GET", "/caches/{cache}", "viewCache"),
    row("PATCH", "/caches/{cache}", "manageCacheSettings"),
    row("DELETE", "/caches/{cache}", "deleteCache"),
    row("POST", "/caches/{cache}/active", "manageCacheSettings"),
    row("DELETE", "/caches/{cache}/active", "manageCacheSettings"),
    row("GET", "/caches/{cache}/key", "viewCache"),
    row("GET", "/caches/{cache}/public-key", "viewCache"),
    row("GET", "/caches/{cache}/members", "viewCache"),
    row("POST", "/caches/{cache}/members", "manageCacheMembers"),
    row("PATCH", "/caches/{cache}/members", "manageCacheMembers"),
    row("DELETE", "/caches/{cache}/members", "manageCacheMembers"),
    row("GET", "/caches/{cache}/roles", "viewCache"),
    row("POST", "/caches/{cache}/roles", "manageCacheRoles"),
    row("PATCH", "/caches/{cache}/roles/{id}", "manageCacheRoles").and(&["viewCache"]),
    row("DELETE", "/caches/{cache}/roles/{id}", "manageCacheRoles").and(&["viewCache"]),
    row("GET", "/caches/{cache}/upstreams", "viewCache"),
    row("PUT", "/caches/{cache}/upstreams", "manageCacheUpstreams"),
    row("PATCH", "/caches/{cache}/upstreams/{id}", "manageCacheUpstreams"),
    row("DELETE", "/caches/{cache}/upstreams/{id}", "manageCacheUpstreams"),
    row("GET", "/caches/{cache}/stats", "viewCache"),
    row("GET", "/caches/{cache}/pins", "readStore"),
    row("POST", "/caches/{cache}/pins", "writeStore"),
    row("DELETE", "/caches/{cache}/pins/{hash}", "writeStore"),
    row("POST", "/caches/{cache}/collect", "manageCacheSettings"),
    row("GET", "/cache/{cache}/nix-cache-info", "readStore"),
    row("GET", "/cache/{cache}/gradient-cache-info", "readStore"),
    row("GET", "/cache/{cache}/{hash}.narinfo", "readStore"),
    row("GET", "/cache/{cache}/{hash}.ls", "readStore"),
    row("GET", "/cache/{cache}/ls/{hash}", "readStore"),
    row("GET", "/cache/{cache}/nar/{file}", "readStore"),
    row("GET", "/cache/{cache}/log/{derivation}", "readStore"),
    row("GET", "/cache/{cache}/serve/{hash}", "readStore"),
    row("GET", "/cache/{cache}/serve/{hash}/{path}", "readStore"),
    row("GET", "/cache/{cache}/realisations/{realisation}.doi", "readStore").of_nothing(),
    row("GET", "/cache/{cache}/build-trace-v2/{derivation}/{output}.doi", "readStore").of_nothing(),
    row("GET", "/cache/{cache}/debuginfo/{file}", "readStore").of_nothing(),
    row("PUT", "/cache/{cache}/nix-cache-info", "writeStore"),
    row("PUT", "/cache/{cache}/{hash}.narinfo", "writeStore"),
    row("PUT", "/cache/{cache}/{hash}.ls", "writeStore"),
    row("PUT", "/cache/{cache}/nar/{file}", "writeStore"),
    row("PUT", "/cache/{cache}/log/{derivation}", "writeStore"),
    row("PUT", "/cache/{cache}/realisations/{realisation}.doi", "writeStore"),
    row("PUT", "/cache/{cache}/build-trace-v2/{derivation}/{output}.doi", "writeStore"),
    row("PUT", "/cache/{cache}/debuginfo/{file}", "writeStore"),
    row("POST", "/cache/{cache}/get-missing-paths", "writeStore"),
    row("POST", "/cache/{cache}/uploads", "writeStore"),
    row("GET", "/cache/{cache}/uploads/{id}", "writeStore").of_nothing(),
    row("PUT", "/cache/{cache}/uploads/{id}", "writeStore").of_nothing(),
    row("DELETE", "/cache/{cache}/uploads/{id}", "writeStore").of_nothing(),
    row("POST", "/cache/{cache}/uploads/{id}/finish", "writeStore").of_nothing(),
];
