-- Builds that ran inside of an evaluation, because it imports from what they make. They are of derivations that the server has not
-- verified, so they are not among the builds that evaluations share.
CREATE TABLE ifd_builds (
    id BLOB PRIMARY KEY,
    evaluation BLOB NOT NULL REFERENCES evaluations,
    epoch INTEGER NOT NULL,
    drv_path TEXT NOT NULL,
    system TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    updated_at INTEGER NOT NULL,
    duration_ms INTEGER,
    UNIQUE (evaluation, epoch, drv_path)
) STRICT;

-- Attempts and their logs are of builds of either table.
CREATE TABLE attempts_of_any (
    build BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    worker BLOB NOT NULL,
    assigned_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    failure_kind TEXT,
    failure_message TEXT,
    log_bytes INTEGER NOT NULL,
    log_frames BLOB,
    PRIMARY KEY (build, epoch)
) STRICT;
INSERT INTO attempts_of_any
SELECT build, epoch, worker, assigned_at, started_at, finished_at, failure_kind, failure_message, log_bytes, log_frames FROM attempts;
DROP TABLE attempts;
ALTER TABLE attempts_of_any RENAME TO attempts;

CREATE TABLE log_chunks_of_any (
    build BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (build, epoch, "offset")
) STRICT;
INSERT INTO log_chunks_of_any SELECT build, epoch, "offset", bytes FROM log_chunks;
DROP TABLE log_chunks;
ALTER TABLE log_chunks_of_any RENAME TO log_chunks;
