-- What workers sign: for each path and each key that a worker holds, the signature, or that it is wanted.

CREATE TABLE cache_signatures (
    cache uuid NOT NULL,
    hash text NOT NULL,
    key uuid NOT NULL REFERENCES cache_keys ON DELETE CASCADE,
    -- What a path refers to has a lower one.
    position bigint NOT NULL,
    -- Readers do not see the path without it.
    withheld boolean NOT NULL,
    signature text,
    PRIMARY KEY (cache, hash, key),
    FOREIGN KEY (cache, hash) REFERENCES cache_paths ON DELETE CASCADE
);
CREATE INDEX cache_signatures_wanted ON cache_signatures (key, withheld DESC, position, hash) WHERE signature IS NULL;
CREATE INDEX cache_signatures_key ON cache_signatures (key);

-- Whose workers hold the key.
ALTER TABLE cache_keys ADD COLUMN organization uuid REFERENCES organizations ON DELETE SET NULL;
-- What the cache had before the key is wanted in parts: the hash behind which the next part begins; none once all of it is.
ALTER TABLE cache_keys ADD COLUMN wanted_after text;
CREATE INDEX cache_keys_organization ON cache_keys (organization);

-- Signatures of the server are made when they are served, and were never written here.
ALTER TABLE cache_paths DROP COLUMN signature;
