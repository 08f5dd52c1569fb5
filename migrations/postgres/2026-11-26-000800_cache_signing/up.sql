-- The keys that caches sign with: several while clients change over from one to the next.

CREATE TABLE cache_keys (
    id uuid PRIMARY KEY,
    cache uuid NOT NULL REFERENCES caches ON DELETE CASCADE,
    name text NOT NULL,
    public_key bytea NOT NULL,
    secret_key_sealed bytea,
    created_at timestamptz NOT NULL,
    primary_since timestamptz NOT NULL,
    retired_at timestamptz,
    -- Clients know keys by their names, so a name is never that of another key.
    UNIQUE (cache, name)
);

-- What is sealed is bound to the id of its row: the first key of a cache has that of the cache.
INSERT INTO cache_keys (id, cache, name, public_key, secret_key_sealed, created_at, primary_since)
    SELECT id, id, key_name, public_key, secret_key_sealed, created_at, created_at FROM caches;
ALTER TABLE caches DROP COLUMN key_name;
ALTER TABLE caches DROP COLUMN public_key;
ALTER TABLE caches DROP COLUMN secret_key_sealed;
