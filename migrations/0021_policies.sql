-- Policies as code. Rows are only ever added: the newest version of a name is in force, and a deletion is a version without a source.
-- Model policies (ai_model_policies) stay where they are; the engine reads them as one more object, 'model-policies'.

CREATE TABLE ai_policy_versions (
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    name             text NOT NULL CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(name) <= 64),
    version          integer NOT NULL CHECK (version > 0),
    -- YAML as it was written; NULL: deleted
    source           text CHECK (octet_length(source) <= 262144),
    -- api: somebody put it. file: read from the server's policy folder.
    origin           text NOT NULL CHECK (origin IN ('api', 'file')),
    -- NULL: the server itself
    actor_id         uuid,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organization_id, name, version)
);

CREATE TRIGGER ai_policy_versions_settings AFTER INSERT OR UPDATE OR DELETE ON ai_policy_versions
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();
