-- As on PostgreSQL, where it says which server leads. Here that is whoever holds the lock file beside the database.

CREATE TABLE leadership (
    -- There is one row.
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- Grows with each server that takes over.
    term INTEGER NOT NULL,
    holder TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;
INSERT INTO leadership VALUES (1, 0, '', 0);
