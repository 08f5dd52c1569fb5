-- What builds of each package took, whoever built it, so that the next one can be expected.

CREATE TABLE build_durations (
    -- Without a version.
    name text NOT NULL,
    system text NOT NULL,
    -- Whether it is a fetch, whose result is known before.
    fixed boolean NOT NULL,
    -- Of the logarithms of seconds.
    log_mean real NOT NULL,
    log_variance real NOT NULL,
    -- How many builds say so, up to the number that counts.
    observations integer NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (name, system, fixed)
);
CREATE INDEX build_durations_updated_at ON build_durations (updated_at);
