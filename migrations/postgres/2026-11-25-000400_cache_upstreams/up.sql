-- Where a cache looks for what it does not have: a cache elsewhere, or another cache of this server.

CREATE TABLE cache_upstreams (
    id uuid PRIMARY KEY,
    cache uuid NOT NULL REFERENCES caches ON DELETE CASCADE,
    display_name text NOT NULL,
    url text,
    public_key text,
    upstream uuid REFERENCES caches ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    CHECK ((url IS NULL) = (public_key IS NULL) AND (url IS NULL) <> (upstream IS NULL)),
    UNIQUE (cache, url),
    UNIQUE (cache, upstream)
);
CREATE INDEX cache_upstreams_upstream ON cache_upstreams (upstream);
