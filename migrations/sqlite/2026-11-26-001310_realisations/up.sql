-- What stands for a derivation in the hashes of its dependents when its outputs' paths are not known before it is built.
ALTER TABLE derivations ADD COLUMN deferred_hash BLOB;

-- What outputs of an organization's derivations turned out to be, under the names that caches serve it by.
CREATE TABLE realisations (
    organization BLOB NOT NULL REFERENCES organizations ON DELETE CASCADE,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization, name)
) STRICT;
CREATE INDEX realisations_path ON realisations (organization, path);
