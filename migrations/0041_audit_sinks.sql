-- Where audit entries are sent as they are linked. How far each has been sent is in audit_cursors, by 'sink/<id>'.
CREATE TABLE audit_sinks (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    name             text NOT NULL CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(name) <= 64),
    -- https://…, http://…, syslog+tcp://host:port, syslog+udp://host:port
    url              text NOT NULL CHECK (length(url) <= 2048),
    -- loopback, private and link-local addresses are refused without it
    allow_private    boolean NOT NULL DEFAULT false,
    -- what deliveries are signed with
    sealed           bytea NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    -- one server at a time sends
    leased_by        uuid,
    leased_until     timestamptz NOT NULL DEFAULT 'epoch',
    failures         integer NOT NULL DEFAULT 0,
    next_at          timestamptz NOT NULL DEFAULT now(),
    last_error       text,
    delivered_at     timestamptz,
    UNIQUE (organization_id, name)
);
