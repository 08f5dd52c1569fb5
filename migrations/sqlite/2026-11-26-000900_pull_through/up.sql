-- Whether a cache keeps what it finds in its upstreams and somebody fetches.

ALTER TABLE caches ADD COLUMN pull_through INTEGER NOT NULL DEFAULT 0;
