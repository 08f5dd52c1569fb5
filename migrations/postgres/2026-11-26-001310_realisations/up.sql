-- What stands for a derivation in the hashes of its dependents when its outputs' paths are not known before it is built.
ALTER TABLE derivations ADD COLUMN deferred_hash bytea;

-- What outputs of an organization's derivations turned out to be, under the names that caches serve it by.
CREATE TABLE realisations (
    organization uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    name text NOT NULL,
    path text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (organization, name)
);
CREATE INDEX realisations_path ON realisations (organization, path);
