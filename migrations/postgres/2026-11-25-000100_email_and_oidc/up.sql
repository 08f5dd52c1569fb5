-- Whose address is proven, and whom an OpenID provider vouches for.

-- Nobody was asked to prove an address before this, and nobody is locked out for it.
ALTER TABLE users ADD COLUMN email_verified boolean NOT NULL DEFAULT true;

-- The address that a user is to prove next: the one it registered with, or another one that it wants.
CREATE TABLE email_verifications (
    "user" uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    email text NOT NULL,
    token_hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX email_verifications_token_hash ON email_verifications (token_hash);
CREATE INDEX email_verifications_expires_at ON email_verifications (expires_at);

CREATE TABLE oidc_identities (
    issuer text NOT NULL,
    subject text NOT NULL,
    "user" uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE UNIQUE INDEX oidc_identities_user ON oidc_identities ("user");
