-- What clients upload to caches, and what comes of it.

ALTER TABLE cache_paths ADD COLUMN foreign_signatures TEXT NOT NULL DEFAULT '';

-- NARs that came before it was said which path they are the content of.
CREATE TABLE uploaded_nars (
    cache BLOB NOT NULL REFERENCES caches ON DELETE CASCADE,
    uploader BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    name TEXT NOT NULL,
    nar_hash BLOB NOT NULL REFERENCES nars,
    sent_hash BLOB NOT NULL,
    sent_size INTEGER NOT NULL,
    mentions BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (cache, uploader, name)
) STRICT;
CREATE INDEX uploaded_nars_nar_hash ON uploaded_nars (nar_hash);
-- For the deletion of a user.
CREATE INDEX uploaded_nars_uploader ON uploaded_nars (uploader);
CREATE INDEX uploaded_nars_created_at ON uploaded_nars (created_at);

-- Paths that wait for what they refer to.
CREATE TABLE pending_paths (
    cache BLOB NOT NULL REFERENCES caches ON DELETE CASCADE,
    hash TEXT NOT NULL,
    path TEXT NOT NULL,
    nar_hash BLOB NOT NULL REFERENCES nars,
    reference_list TEXT NOT NULL,
    deriver TEXT,
    content_address TEXT,
    foreign_signatures TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (cache, hash)
) STRICT;
CREATE INDEX pending_paths_nar_hash ON pending_paths (nar_hash);
CREATE INDEX pending_paths_created_at ON pending_paths (created_at);

-- What each of them waits for.
CREATE TABLE pending_references (
    cache BLOB NOT NULL,
    reference TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (cache, reference, hash),
    FOREIGN KEY (cache, hash) REFERENCES pending_paths ON DELETE CASCADE
) STRICT;
CREATE INDEX pending_references_path ON pending_references (cache, hash);

-- What outputs of content-addressed derivations turned out to be.
CREATE TABLE cache_realisations (
    cache BLOB NOT NULL REFERENCES caches ON DELETE CASCADE,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    dependents TEXT NOT NULL,
    signatures TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (cache, name)
) STRICT;

-- Logs of builds that were made elsewhere.
CREATE TABLE uploaded_logs (
    cache BLOB NOT NULL REFERENCES caches ON DELETE CASCADE,
    derivation TEXT NOT NULL,
    id BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (cache, derivation)
) STRICT;

-- Which NARs have the debugging information of a build id, and where.
CREATE TABLE nar_debuginfo (
    build_id TEXT NOT NULL,
    nar_hash BLOB NOT NULL REFERENCES nars ON DELETE CASCADE,
    member TEXT NOT NULL,
    PRIMARY KEY (build_id, nar_hash)
) STRICT;
CREATE INDEX nar_debuginfo_nar_hash ON nar_debuginfo (nar_hash);

-- Uploads that come in pieces.
CREATE TABLE chunked_uploads (
    id BLOB PRIMARY KEY,
    cache BLOB NOT NULL REFERENCES caches ON DELETE CASCADE,
    uploader BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX chunked_uploads_uploader ON chunked_uploads (uploader, cache);
CREATE INDEX chunked_uploads_created_at ON chunked_uploads (created_at);
