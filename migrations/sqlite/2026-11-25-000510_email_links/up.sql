-- A user may have been sent several links. Each is good until it ends, or one of them is used: whoever asks for another mail, which
-- anybody can, takes nothing from the user.
CREATE TABLE email_links (
    "user" BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    email TEXT NOT NULL,
    token_hash BLOB NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
INSERT INTO email_links SELECT "user", email, token_hash, created_at, expires_at FROM email_verifications;
DROP TABLE email_verifications;
ALTER TABLE email_links RENAME TO email_verifications;
CREATE INDEX email_verifications_user ON email_verifications ("user");
CREATE INDEX email_verifications_expires_at ON email_verifications (expires_at);
