-- What clients upload to caches, and what comes of it.

ALTER TABLE cache_paths ADD COLUMN foreign_signatures text NOT NULL DEFAULT '';

-- NARs that came before it was said which path they are the content of.
CREATE TABLE uploaded_nars (
    cache uuid NOT NULL REFERENCES caches ON DELETE CASCADE,
    uploader uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL,
    nar_hash bytea NOT NULL REFERENCES nars,
    sent_hash bytea NOT NULL,
    sent_size bigint NOT NULL,
    mentions bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (cache, uploader, name)
);
CREATE INDEX uploaded_nars_nar_hash ON uploaded_nars (nar_hash);
-- For the deletion of a user.
CREATE INDEX uploaded_nars_uploader ON uploaded_nars (uploader);
CREATE INDEX uploaded_nars_created_at ON uploaded_nars (created_at);

-- Paths that wait for what they refer to.
CREATE TABLE pending_paths (
    cache uuid NOT NULL REFERENCES caches ON DELETE CASCADE,
    hash text NOT NULL,
    path text NOT NULL,
    nar_hash bytea NOT NULL REFERENCES nars,
    reference_list text NOT NULL,
    deriver text,
    content_address text,
    foreign_signatures text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (cache, hash)
);
CREATE INDEX pending_paths_nar_hash ON pending_paths (nar_hash);
CREATE INDEX pending_paths_created_at ON pending_paths (created_at);

-- What each of them waits for.
CREATE TABLE pending_references (
    cache uuid NOT NULL,
    reference text NOT NULL,
    hash text NOT NULL,
    PRIMARY KEY (cache, reference, hash),
    FOREIGN KEY (cache, hash) REFERENCES pending_paths ON DELETE CASCADE
);
CREATE INDEX pending_references_path ON pending_references (cache, hash);

-- What outputs of content-addressed derivations turned out to be.
CREATE TABLE cache_realisations (
    cache uuid NOT NULL REFERENCES caches ON DELETE CASCADE,
    name text NOT NULL,
    path text NOT NULL,
    dependents text NOT NULL,
    signatures text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (cache, name)
);

-- Logs of builds that were made elsewhere.
CREATE TABLE uploaded_logs (
    cache uuid NOT NULL REFERENCES caches ON DELETE CASCADE,
    derivation text NOT NULL,
    id uuid NOT NULL UNIQUE,
    size bigint NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (cache, derivation)
);

-- Which NARs have the debugging information of a build id, and where.
CREATE TABLE nar_debuginfo (
    build_id text NOT NULL,
    nar_hash bytea NOT NULL REFERENCES nars ON DELETE CASCADE,
    member text NOT NULL,
    PRIMARY KEY (build_id, nar_hash)
);
CREATE INDEX nar_debuginfo_nar_hash ON nar_debuginfo (nar_hash);

-- Uploads that come in pieces.
CREATE TABLE chunked_uploads (
    id uuid PRIMARY KEY,
    cache uuid NOT NULL REFERENCES caches ON DELETE CASCADE,
    uploader uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX chunked_uploads_uploader ON chunked_uploads (uploader, cache);
CREATE INDEX chunked_uploads_created_at ON chunked_uploads (created_at);
