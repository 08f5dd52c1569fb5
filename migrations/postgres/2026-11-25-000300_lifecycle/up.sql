-- Blobs that no row refers to any more, and that are still to be removed from the store.

CREATE TABLE discarded_nars (
    nar_hash bytea PRIMARY KEY
);

CREATE TABLE discarded_logs (
    build uuid NOT NULL,
    epoch integer NOT NULL,
    PRIMARY KEY (build, epoch)
);
