-- What builds offer for download, as their outputs declare it. Decided when the outputs are published, so that nobody has to
-- read NARs to list builds.

ALTER TABLE builds ADD COLUMN has_artefacts boolean NOT NULL DEFAULT FALSE;

CREATE TABLE build_artefacts (
    build uuid NOT NULL REFERENCES builds ON DELETE CASCADE,
    name text NOT NULL,
    position integer NOT NULL,
    file_type text NOT NULL,
    subtype text NOT NULL,
    store_path text NOT NULL,
    subpath text NOT NULL,
    size bigint,
    PRIMARY KEY (build, name)
);

-- The beginning of the file in which an uploaded output declares its build products.
ALTER TABLE staged_outputs ADD COLUMN build_products bytea NOT NULL DEFAULT '';

-- Evaluations of uploaded sources, which belong to no project.
CREATE INDEX evaluations_direct ON evaluations (organization, id) WHERE project IS NULL;
