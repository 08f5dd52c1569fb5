-- How long an entry point's builder may run, and print nothing, in seconds, as its meta asks for.
ALTER TABLE entry_points ADD COLUMN timeout_secs INTEGER;
ALTER TABLE entry_points ADD COLUMN max_silent_secs INTEGER;
