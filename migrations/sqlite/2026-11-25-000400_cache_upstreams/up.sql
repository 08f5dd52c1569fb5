-- Where a cache looks for what it does not have: a cache elsewhere, or another cache of this server.

CREATE TABLE cache_upstreams (
    id BLOB PRIMARY KEY,
    cache BLOB NOT NULL REFERENCES caches ON DELETE CASCADE,
    display_name TEXT NOT NULL,
    url TEXT,
    public_key TEXT,
    upstream BLOB REFERENCES caches ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    CHECK ((url IS NULL) = (public_key IS NULL) AND (url IS NULL) <> (upstream IS NULL)),
    UNIQUE (cache, url),
    UNIQUE (cache, upstream)
) STRICT;
CREATE INDEX cache_upstreams_upstream ON cache_upstreams (upstream);
