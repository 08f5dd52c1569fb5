-- Builds that ran inside of an evaluation, because it imports from what they make. They are of derivations that the server has not
-- verified, so they are not among the builds that evaluations share.
CREATE TABLE ifd_builds (
    id uuid PRIMARY KEY,
    evaluation uuid NOT NULL REFERENCES evaluations,
    epoch integer NOT NULL,
    drv_path text NOT NULL,
    system text NOT NULL,
    status text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    updated_at timestamptz NOT NULL,
    duration_ms bigint,
    UNIQUE (evaluation, epoch, drv_path)
);

-- Attempts and their logs are of builds of either table.
ALTER TABLE attempts DROP CONSTRAINT attempts_build_fkey;
ALTER TABLE log_chunks DROP CONSTRAINT log_chunks_build_fkey;
