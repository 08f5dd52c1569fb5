-- People and what lets them in.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    username text NOT NULL,
    name text NOT NULL,
    email text NOT NULL,
    password_hash text,
    superuser boolean NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX users_username ON users (lower(username));
CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    "user" uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    remember boolean NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX sessions_user ON sessions ("user");
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- Organizations, caches, and who may do what in them.

CREATE TABLE organizations (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    display_name text NOT NULL,
    description text NOT NULL,
    public boolean NOT NULL,
    share integer NOT NULL,
    ssh_public text NOT NULL,
    ssh_private_sealed bytea NOT NULL,
    ssh_known_hosts text NOT NULL DEFAULT '',
    created_by uuid REFERENCES users ON DELETE SET NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE UNIQUE INDEX organizations_name ON organizations (name) WHERE deleted_at IS NULL;
CREATE INDEX organizations_created_by ON organizations (created_by);

CREATE TABLE caches (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    display_name text NOT NULL,
    description text NOT NULL,
    priority integer NOT NULL,
    active boolean NOT NULL,
    public boolean NOT NULL,
    key_name text NOT NULL,
    public_key bytea NOT NULL,
    secret_key_sealed bytea,
    created_by uuid REFERENCES users ON DELETE SET NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE UNIQUE INDEX caches_name ON caches (name) WHERE deleted_at IS NULL;
CREATE INDEX caches_created_by ON caches (created_by);

CREATE TABLE roles (
    id uuid PRIMARY KEY,
    scope text NOT NULL,
    organization uuid REFERENCES organizations ON DELETE CASCADE,
    cache uuid REFERENCES caches ON DELETE CASCADE,
    name text NOT NULL,
    permissions bigint NOT NULL,
    CHECK (scope = 'organization' AND cache IS NULL OR scope = 'cache' AND organization IS NULL)
);
CREATE UNIQUE INDEX roles_built_in ON roles (scope, name) WHERE organization IS NULL AND cache IS NULL;
CREATE UNIQUE INDEX roles_organization ON roles (organization, name);
CREATE UNIQUE INDEX roles_cache ON roles (cache, name);

CREATE TABLE organization_members (
    organization uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    "user" uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    role uuid NOT NULL REFERENCES roles,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (organization, "user")
);
CREATE INDEX organization_members_user ON organization_members ("user");
CREATE INDEX organization_members_role ON organization_members (role);

CREATE TABLE cache_members (
    cache uuid NOT NULL REFERENCES caches ON DELETE CASCADE,
    "user" uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    role uuid NOT NULL REFERENCES roles,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (cache, "user")
);
CREATE INDEX cache_members_user ON cache_members ("user");
CREATE INDEX cache_members_role ON cache_members (role);

CREATE TABLE subscriptions (
    organization uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    cache uuid NOT NULL REFERENCES caches ON DELETE CASCADE,
    mode text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (organization, cache)
);
CREATE INDEX subscriptions_cache ON subscriptions (cache);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    "user" uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL,
    secret_hash bytea NOT NULL UNIQUE,
    permissions bigint NOT NULL,
    cache_permissions bigint NOT NULL,
    organization uuid REFERENCES organizations ON DELETE CASCADE,
    cache uuid REFERENCES caches ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    expires_at timestamptz,
    UNIQUE ("user", name)
);
CREATE INDEX api_keys_organization ON api_keys (organization);
CREATE INDEX api_keys_cache ON api_keys (cache);

CREATE TABLE worker_registrations (
    organization uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    worker uuid NOT NULL,
    display_name text NOT NULL,
    token_hash bytea NOT NULL,
    enable_fetch boolean NOT NULL,
    enable_eval boolean NOT NULL,
    enable_build boolean NOT NULL,
    registered_at timestamptz NOT NULL,
    created_by uuid REFERENCES users ON DELETE SET NULL,
    PRIMARY KEY (organization, worker)
);
CREATE INDEX worker_registrations_worker ON worker_registrations (worker);
CREATE INDEX worker_registrations_created_by ON worker_registrations (created_by);

-- What is evaluated.

CREATE TABLE projects (
    id uuid PRIMARY KEY,
    organization uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    name text NOT NULL,
    display_name text NOT NULL,
    description text NOT NULL,
    repository text NOT NULL,
    branch text,
    wildcard text NOT NULL,
    active boolean NOT NULL,
    keep_evaluations integer NOT NULL,
    concurrency text NOT NULL,
    poll_interval_secs integer NOT NULL,
    publish text NOT NULL,
    allow_ifd boolean NOT NULL,
    priority integer NOT NULL,
    last_check_at timestamptz,
    created_by uuid REFERENCES users ON DELETE SET NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE UNIQUE INDEX projects_name ON projects (organization, name) WHERE deleted_at IS NULL;
CREATE INDEX projects_organization ON projects (organization);
CREATE INDEX projects_created_by ON projects (created_by);

CREATE TABLE commits (
    id uuid PRIMARY KEY,
    organization uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    repository text NOT NULL,
    hash text NOT NULL,
    message text NOT NULL,
    author_name text,
    created_at timestamptz NOT NULL,
    UNIQUE (organization, repository, hash)
);

CREATE TABLE evaluations (
    id uuid PRIMARY KEY,
    organization uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    project uuid REFERENCES projects ON DELETE CASCADE,
    repository text NOT NULL,
    "commit" uuid NOT NULL REFERENCES commits,
    wildcard text NOT NULL,
    status text NOT NULL,
    waiting jsonb,
    error text,
    error_count integer NOT NULL,
    warning_count integer NOT NULL,
    triggered_by uuid REFERENCES users ON DELETE SET NULL,
    priority integer NOT NULL,
    publish text NOT NULL,
    allow_ifd boolean NOT NULL,
    previous uuid REFERENCES evaluations ON DELETE SET NULL,
    source jsonb,
    epoch integer NOT NULL,
    worker uuid,
    sealed boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX evaluations_organization ON evaluations (organization, id);
CREATE INDEX evaluations_project ON evaluations (project, id);
CREATE INDEX evaluations_commit ON evaluations ("commit");
CREATE INDEX evaluations_previous ON evaluations (previous);
CREATE INDEX evaluations_triggered_by ON evaluations (triggered_by);
CREATE INDEX evaluations_unfinished ON evaluations (id) WHERE finished_at IS NULL;

-- Apart from the evaluation, for they change with every build and the evaluation hardly does.
CREATE TABLE evaluation_counters (
    evaluation uuid PRIMARY KEY REFERENCES evaluations ON DELETE CASCADE,
    builds_queued integer NOT NULL DEFAULT 0,
    builds_building integer NOT NULL DEFAULT 0,
    builds_completed integer NOT NULL DEFAULT 0,
    builds_substituted integer NOT NULL DEFAULT 0,
    builds_failed integer NOT NULL DEFAULT 0,
    builds_aborted integer NOT NULL DEFAULT 0,
    builds_dependency_failed integer NOT NULL DEFAULT 0,
    entry_points_total integer NOT NULL DEFAULT 0,
    entry_points_completed integer NOT NULL DEFAULT 0,
    entry_points_failed integer NOT NULL DEFAULT 0
);

CREATE TABLE evaluation_messages (
    id uuid PRIMARY KEY,
    evaluation uuid NOT NULL REFERENCES evaluations ON DELETE CASCADE,
    level text NOT NULL,
    source text NOT NULL,
    attribute text,
    message text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX evaluation_messages_evaluation ON evaluation_messages (evaluation, id);

-- What is built.

CREATE TABLE derivations (
    id uuid PRIMARY KEY,
    organization uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    drv_path text NOT NULL,
    name text NOT NULL,
    system text NOT NULL,
    features text NOT NULL,
    aterm bytea NOT NULL,
    input_hash bytea,
    fixed boolean NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (organization, drv_path)
);
CREATE INDEX derivations_drv_path ON derivations (drv_path);

CREATE TABLE derivation_outputs (
    derivation uuid NOT NULL REFERENCES derivations ON DELETE CASCADE,
    name text NOT NULL,
    path text,
    PRIMARY KEY (derivation, name)
);
CREATE INDEX derivation_outputs_path ON derivation_outputs (path);

CREATE TABLE derivation_inputs (
    derivation uuid NOT NULL REFERENCES derivations ON DELETE CASCADE,
    input uuid NOT NULL REFERENCES derivations,
    PRIMARY KEY (derivation, input)
);
CREATE INDEX derivation_inputs_input ON derivation_inputs (input);

CREATE TABLE builds (
    id uuid PRIMARY KEY,
    organization uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    derivation uuid NOT NULL REFERENCES derivations,
    generation integer NOT NULL,
    status text NOT NULL,
    epoch integer NOT NULL,
    worker uuid,
    failure_kind text,
    failure_message text,
    failed_dependency uuid,
    queued_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    updated_at timestamptz NOT NULL,
    duration_ms bigint,
    UNIQUE (derivation, generation)
);
CREATE INDEX builds_organization ON builds (organization, id);
CREATE INDEX builds_unfinished ON builds (id) WHERE finished_at IS NULL;

-- The build's status is repeated here, so that a page of one status is read without looking at the other builds.
CREATE TABLE evaluation_builds (
    evaluation uuid NOT NULL REFERENCES evaluations ON DELETE CASCADE,
    build uuid NOT NULL REFERENCES builds,
    status text NOT NULL,
    PRIMARY KEY (evaluation, build)
);
CREATE INDEX evaluation_builds_build ON evaluation_builds (build);
CREATE INDEX evaluation_builds_status ON evaluation_builds (evaluation, status, build);

CREATE TABLE entry_points (
    id uuid PRIMARY KEY,
    evaluation uuid NOT NULL REFERENCES evaluations ON DELETE CASCADE,
    attribute text NOT NULL,
    build uuid REFERENCES builds,
    error text,
    created_at timestamptz NOT NULL,
    UNIQUE (evaluation, attribute)
);
CREATE INDEX entry_points_build ON entry_points (build);

CREATE TABLE attempts (
    build uuid NOT NULL REFERENCES builds ON DELETE CASCADE,
    epoch integer NOT NULL,
    worker uuid NOT NULL,
    assigned_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    failure_kind text,
    failure_message text,
    log_bytes bigint NOT NULL,
    log_frames bytea,
    PRIMARY KEY (build, epoch)
);

CREATE TABLE log_chunks (
    build uuid NOT NULL REFERENCES builds ON DELETE CASCADE,
    epoch integer NOT NULL,
    "offset" bigint NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (build, epoch, "offset")
);

-- What is stored, who may fetch it, and what the caches publish.

CREATE TABLE nars (
    nar_hash bytea PRIMARY KEY,
    nar_size bigint NOT NULL,
    file_hash bytea NOT NULL,
    file_size bigint NOT NULL,
    created_at timestamptz NOT NULL,
    condemned_at timestamptz
);
CREATE INDEX nars_condemned_at ON nars (condemned_at) WHERE condemned_at IS NOT NULL;

CREATE TABLE organization_paths (
    organization uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    path text NOT NULL,
    nar_hash bytea NOT NULL REFERENCES nars,
    reference_list text NOT NULL,
    deriver text,
    content_address text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (organization, path)
);
CREATE INDEX organization_paths_nar_hash ON organization_paths (nar_hash);

CREATE TABLE staged_outputs (
    build uuid NOT NULL REFERENCES builds ON DELETE CASCADE,
    epoch integer NOT NULL,
    path text NOT NULL,
    nar_hash bytea NOT NULL REFERENCES nars,
    reference_list text NOT NULL,
    content_address text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (build, epoch, path)
);
CREATE INDEX staged_outputs_nar_hash ON staged_outputs (nar_hash);

CREATE TABLE cache_paths (
    cache uuid NOT NULL REFERENCES caches ON DELETE CASCADE,
    hash text NOT NULL,
    path text NOT NULL,
    nar_hash bytea NOT NULL REFERENCES nars,
    reference_list text NOT NULL,
    deriver text,
    content_address text,
    signature text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (cache, hash)
);
CREATE INDEX cache_paths_nar_hash ON cache_paths (cache, nar_hash);
CREATE INDEX cache_paths_nars ON cache_paths (nar_hash);

CREATE TABLE server_settings (
    key text PRIMARY KEY,
    value text NOT NULL
);

-- The built-in roles. The bits are those of the permission catalogue and are never renumbered.

INSERT INTO roles (id, scope, name, permissions) VALUES
    ('00000000-0000-7000-8000-000000000001', 'organization', 'Admin', 8191),
    ('00000000-0000-7000-8000-000000000002', 'organization', 'Write', 8161),
    ('00000000-0000-7000-8000-000000000003', 'organization', 'View', 1),
    ('00000000-0000-7000-8000-000000000011', 'cache', 'Admin', 1023),
    ('00000000-0000-7000-8000-000000000012', 'cache', 'Write', 7),
    ('00000000-0000-7000-8000-000000000013', 'cache', 'View', 3);
