-- What builds of each package took, whoever built it, so that the next one can be expected.

CREATE TABLE build_durations (
    -- Without a version.
    name TEXT NOT NULL,
    system TEXT NOT NULL,
    -- Whether it is a fetch, whose result is known before.
    fixed INTEGER NOT NULL,
    -- Of the logarithms of seconds.
    log_mean REAL NOT NULL,
    log_variance REAL NOT NULL,
    -- How many builds say so, up to the number that counts.
    observations INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (name, system, fixed)
) STRICT, WITHOUT ROWID;
CREATE INDEX build_durations_updated_at ON build_durations (updated_at);
