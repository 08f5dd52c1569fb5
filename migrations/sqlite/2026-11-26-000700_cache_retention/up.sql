-- How long caches keep what nobody fetches, how much they may have, and what they keep in any case.

ALTER TABLE caches ADD COLUMN retention_days INTEGER;
ALTER TABLE caches ADD COLUMN max_bytes INTEGER;

-- When the cache was last told to publish the path, also where it had it already.
ALTER TABLE cache_paths ADD COLUMN claimed_at INTEGER NOT NULL DEFAULT 0;
UPDATE cache_paths SET claimed_at = created_at;
ALTER TABLE cache_paths ADD COLUMN last_fetched_at INTEGER;
CREATE INDEX cache_paths_claimed_at ON cache_paths (cache, claimed_at);

-- A pin outlives its path: what comes again is pinned again.
CREATE TABLE cache_pins (
    cache BLOB NOT NULL REFERENCES caches ON DELETE CASCADE,
    hash TEXT NOT NULL,
    created_by BLOB REFERENCES users ON DELETE SET NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (cache, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_pins_created_by ON cache_pins (created_by);

-- Apart from the cache, for they change all the time.
CREATE TABLE cache_counters (
    cache BLOB PRIMARY KEY REFERENCES caches ON DELETE CASCADE,
    hits INTEGER NOT NULL DEFAULT 0,
    misses INTEGER NOT NULL DEFAULT 0,
    bytes_served INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO cache_counters (cache) SELECT id FROM caches;

-- The store has lost the NAR, or has it damaged; whoever has a claim on it has it again when it comes again.
ALTER TABLE nars ADD COLUMN quarantined_at INTEGER;
CREATE INDEX nars_quarantined_at ON nars (quarantined_at) WHERE quarantined_at IS NOT NULL;
