-- Which server leads: one at a time.

CREATE TABLE leadership (
    -- There is one row.
    id smallint PRIMARY KEY CHECK (id = 1),
    -- Grows with each server that takes over.
    term bigint NOT NULL,
    holder text NOT NULL,
    since timestamptz NOT NULL
);
INSERT INTO leadership VALUES (1, 0, '', now());

-- Begins each transaction of the server that leads. Who takes over has the same lock alone while it raises the term: before that
-- it waits for the transactions that run, and those that wait for it meanwhile find the new term and fail.
CREATE FUNCTION check_leadership(mine bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7809353297156);
    IF NOT EXISTS (SELECT FROM leadership WHERE term = mine) THEN
        RAISE EXCEPTION 'fenced';
    END IF;
END $$;
