-- What workers sign: for each path and each key that a worker holds, the signature, or that it is wanted.

CREATE TABLE cache_signatures (
    cache BLOB NOT NULL,
    hash TEXT NOT NULL,
    key BLOB NOT NULL REFERENCES cache_keys ON DELETE CASCADE,
    -- What a path refers to has a lower one.
    position INTEGER NOT NULL,
    -- Readers do not see the path without it.
    withheld INTEGER NOT NULL,
    signature TEXT,
    PRIMARY KEY (cache, hash, key),
    FOREIGN KEY (cache, hash) REFERENCES cache_paths ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_signatures_wanted ON cache_signatures (key, withheld DESC, position, hash) WHERE signature IS NULL;
CREATE INDEX cache_signatures_key ON cache_signatures (key);

-- Whose workers hold the key.
ALTER TABLE cache_keys ADD COLUMN organization BLOB REFERENCES organizations ON DELETE SET NULL;
-- What the cache had before the key is wanted in parts: the hash behind which the next part begins; none once all of it is.
ALTER TABLE cache_keys ADD COLUMN wanted_after TEXT;
CREATE INDEX cache_keys_organization ON cache_keys (organization);

-- Signatures of the server are made when they are served, and were never written here.
ALTER TABLE cache_paths DROP COLUMN signature;
