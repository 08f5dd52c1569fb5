-- The keys that caches sign with: several while clients change over from one to the next.

CREATE TABLE cache_keys (
    id BLOB PRIMARY KEY,
    cache BLOB NOT NULL REFERENCES caches ON DELETE CASCADE,
    name TEXT NOT NULL,
    public_key BLOB NOT NULL,
    secret_key_sealed BLOB,
    created_at INTEGER NOT NULL,
    primary_since INTEGER NOT NULL,
    retired_at INTEGER,
    -- Clients know keys by their names, so a name is never that of another key.
    UNIQUE (cache, name)
) STRICT;

-- What is sealed is bound to the id of its row: the first key of a cache has that of the cache.
INSERT INTO cache_keys (id, cache, name, public_key, secret_key_sealed, created_at, primary_since)
    SELECT id, id, key_name, public_key, secret_key_sealed, created_at, created_at FROM caches;
ALTER TABLE caches DROP COLUMN key_name;
ALTER TABLE caches DROP COLUMN public_key;
ALTER TABLE caches DROP COLUMN secret_key_sealed;
