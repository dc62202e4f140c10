-- Which keys each server can open secrets with, as prints that tell nothing about them: secrets are sealed anew with a key only when every
-- server that lives has it.
ALTER TABLE replicas ADD COLUMN key_prints text[] NOT NULL DEFAULT '{}';
