-- A user may have been sent several links. Each is good until it ends, or one of them is used: whoever asks for another mail, which
-- anybody can, takes nothing from the user.
ALTER TABLE email_verifications DROP CONSTRAINT email_verifications_pkey;
ALTER TABLE email_verifications ALTER COLUMN "user" SET NOT NULL;
DROP INDEX email_verifications_token_hash;
ALTER TABLE email_verifications ADD PRIMARY KEY (token_hash);
CREATE INDEX email_verifications_user ON email_verifications ("user");
