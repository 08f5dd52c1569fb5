-- People and what lets them in.

CREATE TABLE users (
    id BLOB PRIMARY KEY,
    username TEXT NOT NULL,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    password_hash TEXT,
    superuser INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_username ON users (lower(username));
CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE sessions (
    id BLOB PRIMARY KEY,
    "user" BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    remember INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE INDEX sessions_user ON sessions ("user");
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- Organizations, caches, and who may do what in them.

CREATE TABLE organizations (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    description TEXT NOT NULL,
    public INTEGER NOT NULL,
    share INTEGER NOT NULL,
    ssh_public TEXT NOT NULL,
    ssh_private_sealed BLOB NOT NULL,
    ssh_known_hosts TEXT NOT NULL DEFAULT '',
    created_by BLOB REFERENCES users ON DELETE SET NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX organizations_name ON organizations (name) WHERE deleted_at IS NULL;
CREATE INDEX organizations_created_by ON organizations (created_by);

CREATE TABLE caches (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    description TEXT NOT NULL,
    priority INTEGER NOT NULL,
    active INTEGER NOT NULL,
    public INTEGER NOT NULL,
    key_name TEXT NOT NULL,
    public_key BLOB NOT NULL,
    secret_key_sealed BLOB,
    created_by BLOB REFERENCES users ON DELETE SET NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX caches_name ON caches (name) WHERE deleted_at IS NULL;
CREATE INDEX caches_created_by ON caches (created_by);

CREATE TABLE roles (
    id BLOB PRIMARY KEY,
    scope TEXT NOT NULL,
    organization BLOB REFERENCES organizations ON DELETE CASCADE,
    cache BLOB REFERENCES caches ON DELETE CASCADE,
    name TEXT NOT NULL,
    permissions INTEGER NOT NULL,
    CHECK (scope = 'organization' AND cache IS NULL OR scope = 'cache' AND organization IS NULL)
) STRICT;
CREATE UNIQUE INDEX roles_built_in ON roles (scope, name) WHERE organization IS NULL AND cache IS NULL;
CREATE UNIQUE INDEX roles_organization ON roles (organization, name);
CREATE UNIQUE INDEX roles_cache ON roles (cache, name);

CREATE TABLE organization_members (
    organization BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    "user" BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    role BLOB NOT NULL REFERENCES roles,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization, "user")
) STRICT, WITHOUT ROWID;
CREATE INDEX organization_members_user ON organization_members ("user");
CREATE INDEX organization_members_role ON organization_members (role);

CREATE TABLE cache_members (
    cache BLOB NOT NULL REFERENCES caches ON DELETE CASCADE,
    "user" BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    role BLOB NOT NULL REFERENCES roles,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (cache, "user")
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_members_user ON cache_members ("user");
CREATE INDEX cache_members_role ON cache_members (role);

CREATE TABLE subscriptions (
    organization BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    cache BLOB NOT NULL REFERENCES caches ON DELETE CASCADE,
    mode TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization, cache)
) STRICT, WITHOUT ROWID;
CREATE INDEX subscriptions_cache ON subscriptions (cache);

CREATE TABLE api_keys (
    id BLOB PRIMARY KEY,
    "user" BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    name TEXT NOT NULL,
    secret_hash BLOB NOT NULL UNIQUE,
    permissions INTEGER NOT NULL,
    cache_permissions INTEGER NOT NULL,
    organization BLOB REFERENCES organizations ON DELETE CASCADE,
    cache BLOB REFERENCES caches ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    expires_at INTEGER,
    UNIQUE ("user", name)
) STRICT;
CREATE INDEX api_keys_organization ON api_keys (organization);
CREATE INDEX api_keys_cache ON api_keys (cache);

CREATE TABLE worker_registrations (
    organization BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    worker BLOB NOT NULL,
    display_name TEXT NOT NULL,
    token_hash BLOB NOT NULL,
    enable_fetch INTEGER NOT NULL,
    enable_eval INTEGER NOT NULL,
    enable_build INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    created_by BLOB REFERENCES users ON DELETE SET NULL,
    PRIMARY KEY (organization, worker)
) STRICT;
CREATE INDEX worker_registrations_worker ON worker_registrations (worker);
CREATE INDEX worker_registrations_created_by ON worker_registrations (created_by);

-- What is evaluated.

CREATE TABLE projects (
    id BLOB PRIMARY KEY,
    organization BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    description TEXT NOT NULL,
    repository TEXT NOT NULL,
    branch TEXT,
    wildcard TEXT NOT NULL,
    active INTEGER NOT NULL,
    keep_evaluations INTEGER NOT NULL,
    concurrency TEXT NOT NULL,
    poll_interval_secs INTEGER NOT NULL,
    publish TEXT NOT NULL,
    allow_ifd INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    last_check_at INTEGER,
    created_by BLOB REFERENCES users ON DELETE SET NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX projects_name ON projects (organization, name) WHERE deleted_at IS NULL;
CREATE INDEX projects_organization ON projects (organization);
CREATE INDEX projects_created_by ON projects (created_by);

CREATE TABLE commits (
    id BLOB PRIMARY KEY,
    organization BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    repository TEXT NOT NULL,
    hash TEXT NOT NULL,
    message TEXT NOT NULL,
    author_name TEXT,
    created_at INTEGER NOT NULL,
    UNIQUE (organization, repository, hash)
) STRICT;

CREATE TABLE evaluations (
    id BLOB PRIMARY KEY,
    organization BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    project BLOB REFERENCES projects ON DELETE CASCADE,
    repository TEXT NOT NULL,
    "commit" BLOB NOT NULL REFERENCES commits,
    wildcard TEXT NOT NULL,
    status TEXT NOT NULL,
    waiting TEXT,
    error TEXT,
    error_count INTEGER NOT NULL,
    warning_count INTEGER NOT NULL,
    triggered_by BLOB REFERENCES users ON DELETE SET NULL,
    priority INTEGER NOT NULL,
    publish TEXT NOT NULL,
    allow_ifd INTEGER NOT NULL,
    previous BLOB REFERENCES evaluations ON DELETE SET NULL,
    source TEXT,
    epoch INTEGER NOT NULL,
    worker BLOB,
    sealed INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX evaluations_organization ON evaluations (organization, id);
CREATE INDEX evaluations_project ON evaluations (project, id);
CREATE INDEX evaluations_commit ON evaluations ("commit");
CREATE INDEX evaluations_previous ON evaluations (previous);
CREATE INDEX evaluations_triggered_by ON evaluations (triggered_by);
CREATE INDEX evaluations_unfinished ON evaluations (id) WHERE finished_at IS NULL;

-- Apart from the evaluation, for they change with every build and the evaluation hardly does.
CREATE TABLE evaluation_counters (
    evaluation BLOB PRIMARY KEY REFERENCES evaluations ON DELETE CASCADE,
    builds_queued INTEGER NOT NULL DEFAULT 0,
    builds_building INTEGER NOT NULL DEFAULT 0,
    builds_completed INTEGER NOT NULL DEFAULT 0,
    builds_substituted INTEGER NOT NULL DEFAULT 0,
    builds_failed INTEGER NOT NULL DEFAULT 0,
    builds_aborted INTEGER NOT NULL DEFAULT 0,
    builds_dependency_failed INTEGER NOT NULL DEFAULT 0,
    entry_points_total INTEGER NOT NULL DEFAULT 0,
    entry_points_completed INTEGER NOT NULL DEFAULT 0,
    entry_points_failed INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE evaluation_messages (
    id BLOB PRIMARY KEY,
    evaluation BLOB NOT NULL REFERENCES evaluations ON DELETE CASCADE,
    level TEXT NOT NULL,
    source TEXT NOT NULL,
    attribute TEXT,
    message TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX evaluation_messages_evaluation ON evaluation_messages (evaluation, id);

-- What is built.

CREATE TABLE derivations (
    id BLOB PRIMARY KEY,
    organization BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    drv_path TEXT NOT NULL,
    name TEXT NOT NULL,
    system TEXT NOT NULL,
    features TEXT NOT NULL,
    aterm BLOB NOT NULL,
    input_hash BLOB,
    fixed INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (organization, drv_path)
) STRICT;
CREATE INDEX derivations_drv_path ON derivations (drv_path);

CREATE TABLE derivation_outputs (
    derivation BLOB NOT NULL REFERENCES derivations ON DELETE CASCADE,
    name TEXT NOT NULL,
    path TEXT,
    PRIMARY KEY (derivation, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX derivation_outputs_path ON derivation_outputs (path);

CREATE TABLE derivation_inputs (
    derivation BLOB NOT NULL REFERENCES derivations ON DELETE CASCADE,
    input BLOB NOT NULL REFERENCES derivations,
    PRIMARY KEY (derivation, input)
) STRICT, WITHOUT ROWID;
CREATE INDEX derivation_inputs_input ON derivation_inputs (input);

CREATE TABLE builds (
    id BLOB PRIMARY KEY,
    organization BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    derivation BLOB NOT NULL REFERENCES derivations,
    generation INTEGER NOT NULL,
    status TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    worker BLOB,
    failure_kind TEXT,
    failure_message TEXT,
    failed_dependency BLOB,
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    updated_at INTEGER NOT NULL,
    duration_ms INTEGER,
    UNIQUE (derivation, generation)
) STRICT;
CREATE INDEX builds_organization ON builds (organization, id);
CREATE INDEX builds_unfinished ON builds (id) WHERE finished_at IS NULL;

-- The build's status is repeated here, so that a page of one status is read without looking at the other builds.
CREATE TABLE evaluation_builds (
    evaluation BLOB NOT NULL REFERENCES evaluations ON DELETE CASCADE,
    build BLOB NOT NULL REFERENCES builds,
    status TEXT NOT NULL,
    PRIMARY KEY (evaluation, build)
) STRICT, WITHOUT ROWID;
CREATE INDEX evaluation_builds_build ON evaluation_builds (build);
CREATE INDEX evaluation_builds_status ON evaluation_builds (evaluation, status, build);

CREATE TABLE entry_points (
    id BLOB PRIMARY KEY,
    evaluation BLOB NOT NULL REFERENCES evaluations ON DELETE CASCADE,
    attribute TEXT NOT NULL,
    build BLOB REFERENCES builds,
    error TEXT,
    created_at INTEGER NOT NULL,
    UNIQUE (evaluation, attribute)
) STRICT;
CREATE INDEX entry_points_build ON entry_points (build);

CREATE TABLE attempts (
    build BLOB NOT NULL REFERENCES builds ON DELETE CASCADE,
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

CREATE TABLE log_chunks (
    build BLOB NOT NULL REFERENCES builds ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (build, epoch, "offset")
) STRICT;

-- What is stored, who may fetch it, and what the caches publish.

CREATE TABLE nars (
    nar_hash BLOB PRIMARY KEY,
    nar_size INTEGER NOT NULL,
    file_hash BLOB NOT NULL,
    file_size INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    condemned_at INTEGER
) STRICT;
CREATE INDEX nars_condemned_at ON nars (condemned_at) WHERE condemned_at IS NOT NULL;

CREATE TABLE organization_paths (
    organization BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    path TEXT NOT NULL,
    nar_hash BLOB NOT NULL REFERENCES nars,
    reference_list TEXT NOT NULL,
    deriver TEXT,
    content_address TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization, path)
) STRICT;
CREATE INDEX organization_paths_nar_hash ON organization_paths (nar_hash);

CREATE TABLE staged_outputs (
    build BLOB NOT NULL REFERENCES builds ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    path TEXT NOT NULL,
    nar_hash BLOB NOT NULL REFERENCES nars,
    reference_list TEXT NOT NULL,
    content_address TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (build, epoch, path)
) STRICT;
CREATE INDEX staged_outputs_nar_hash ON staged_outputs (nar_hash);

CREATE TABLE cache_paths (
    cache BLOB NOT NULL REFERENCES caches ON DELETE CASCADE,
    hash TEXT NOT NULL,
    path TEXT NOT NULL,
    nar_hash BLOB NOT NULL REFERENCES nars,
    reference_list TEXT NOT NULL,
    deriver TEXT,
    content_address TEXT,
    signature TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (cache, hash)
) STRICT;
CREATE INDEX cache_paths_nar_hash ON cache_paths (cache, nar_hash);
CREATE INDEX cache_paths_nars ON cache_paths (nar_hash);

CREATE TABLE server_settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- The built-in roles. The bits are those of the permission catalogue and are never renumbered.

INSERT INTO roles (id, scope, name, permissions) VALUES
    (X'00000000000070008000000000000001', 'organization', 'Admin', 8191),
    (X'00000000000070008000000000000002', 'organization', 'Write', 8161),
    (X'00000000000070008000000000000003', 'organization', 'View', 1),
    (X'00000000000070008000000000000011', 'cache', 'Admin', 1023),
    (X'00000000000070008000000000000012', 'cache', 'Write', 7),
    (X'00000000000070008000000000000013', 'cache', 'View', 3);
