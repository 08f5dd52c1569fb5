-- How long caches keep what nobody fetches, how much they may have, and what they keep in any case.

ALTER TABLE caches ADD COLUMN retention_days integer;
ALTER TABLE caches ADD COLUMN max_bytes bigint;

-- When the cache was last told to publish the path, also where it had it already.
ALTER TABLE cache_paths ADD COLUMN claimed_at timestamptz;
UPDATE cache_paths SET claimed_at = created_at;
ALTER TABLE cache_paths ALTER COLUMN claimed_at SET NOT NULL;
ALTER TABLE cache_paths ADD COLUMN last_fetched_at timestamptz;
CREATE INDEX cache_paths_claimed_at ON cache_paths (cache, claimed_at);

-- A pin outlives its path: what comes again is pinned again.
CREATE TABLE cache_pins (
    cache uuid NOT NULL REFERENCES caches ON DELETE CASCADE,
    hash text NOT NULL,
    created_by uuid REFERENCES users ON DELETE SET NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (cache, hash)
);
CREATE INDEX cache_pins_created_by ON cache_pins (created_by);

-- Apart from the cache, for they change all the time.
CREATE TABLE cache_counters (
    cache uuid PRIMARY KEY REFERENCES caches ON DELETE CASCADE,
    hits bigint NOT NULL DEFAULT 0,
    misses bigint NOT NULL DEFAULT 0,
    bytes_served bigint NOT NULL DEFAULT 0
);
INSERT INTO cache_counters (cache) SELECT id FROM caches;

-- The store has lost the NAR, or has it damaged; whoever has a claim on it has it again when it comes again.
ALTER TABLE nars ADD COLUMN quarantined_at timestamptz;
CREATE INDEX nars_quarantined_at ON nars (quarantined_at) WHERE quarantined_at IS NOT NULL;
