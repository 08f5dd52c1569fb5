-- Blobs that no row refers to any more, and that are still to be removed from the store.

CREATE TABLE discarded_nars (
    nar_hash BLOB PRIMARY KEY
) STRICT;

CREATE TABLE discarded_logs (
    build BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    PRIMARY KEY (build, epoch)
) STRICT;
