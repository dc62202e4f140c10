-- What people said about calls of tools for which a rule wants somebody to say yes.
CREATE TABLE task_approvals (
    task_id          uuid NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    -- of the call
    number           integer NOT NULL,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    is_given         boolean NOT NULL,
    actor_id         uuid NOT NULL,
    actor            text NOT NULL,
    at               timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, number)
);
