-- The place of a build in its evaluation, so that a page is found without counting the builds before it.

ALTER TABLE evaluation_builds ADD COLUMN position integer;
UPDATE evaluation_builds SET position = numbered.position
FROM (
    SELECT evaluation, build, row_number() OVER (PARTITION BY evaluation ORDER BY build) - 1 AS position
    FROM evaluation_builds
) AS numbered
WHERE evaluation_builds.evaluation = numbered.evaluation AND evaluation_builds.build = numbered.build;
ALTER TABLE evaluation_builds ALTER COLUMN position SET NOT NULL;
CREATE UNIQUE INDEX evaluation_builds_position ON evaluation_builds (evaluation, position) INCLUDE (build);
DROP INDEX evaluation_builds_status;
CREATE INDEX evaluation_builds_status ON evaluation_builds (evaluation, status, position) INCLUDE (build);
