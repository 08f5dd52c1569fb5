-- Whose address is proven, and whom an OpenID provider vouches for.

-- Nobody was asked to prove an address before this, and nobody is locked out for it.
ALTER TABLE users ADD COLUMN email_verified INTEGER NOT NULL DEFAULT 1;

-- The address that a user is to prove next: the one it registered with, or another one that it wants.
CREATE TABLE email_verifications (
    "user" BLOB PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    email TEXT NOT NULL,
    token_hash BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX email_verifications_token_hash ON email_verifications (token_hash);
CREATE INDEX email_verifications_expires_at ON email_verifications (expires_at);

CREATE TABLE oidc_identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    "user" BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;
CREATE UNIQUE INDEX oidc_identities_user ON oidc_identities ("user");
