-- What builds offer for download, as their outputs declare it. Decided when the outputs are published, so that nobody has to
-- read NARs to list builds.

ALTER TABLE builds ADD COLUMN has_artefacts INTEGER NOT NULL DEFAULT 0;

CREATE TABLE build_artefacts (
    build BLOB NOT NULL REFERENCES builds ON DELETE CASCADE,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    file_type TEXT NOT NULL,
    subtype TEXT NOT NULL,
    store_path TEXT NOT NULL,
    subpath TEXT NOT NULL,
    size INTEGER,
    PRIMARY KEY (build, name)
) STRICT, WITHOUT ROWID;

-- The beginning of the file in which an uploaded output declares its build products.
ALTER TABLE staged_outputs ADD COLUMN build_products BLOB NOT NULL DEFAULT X'';

-- Evaluations of uploaded sources, which belong to no project.
CREATE INDEX evaluations_direct ON evaluations (organization, id) WHERE project IS NULL;
