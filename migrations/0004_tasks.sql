-- Tasks: a conversation with a goal, advanced in steps by the worker that holds its lease.
--
-- A lease is (worker, fence): every write of a worker goes through task_guard, which checks both in the same transaction.

-- One row per running worker process, renewed every second. Unlogged: after a crash of the database all leases are open anyway.
CREATE UNLOGGED TABLE task_workers (
    id          uuid PRIMARY KEY,
    replica_id  uuid NOT NULL,
    seen_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX task_workers_replica ON task_workers (replica_id);

CREATE TABLE tasks (
    id                uuid PRIMARY KEY,
    organization_id   uuid NOT NULL REFERENCES organizations (id),
    owner_id          uuid NOT NULL REFERENCES users (id),
    -- short, for people and for the branch slipway/<name>
    name              text NOT NULL CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(name) <= 60),
    title             text NOT NULL,
    model             text NOT NULL CHECK (model <> ''),
    status            text NOT NULL DEFAULT 'queued'
                      CHECK (status IN ('queued', 'running', 'waiting', 'paused', 'interrupted', 'completed', 'failed')),
    -- why it waits, is paused or has failed: a word for programs and a sentence for people
    reason            text,
    message           text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    -- order of lists that show the newest first, independent of clocks
    number            bigint GENERATED ALWAYS AS IDENTITY UNIQUE,

    -- the lease
    worker_id         uuid,
    fence             bigint NOT NULL DEFAULT 0,
    wake_at           timestamptz,
    interrupt_by      text,

    -- limits (NULL: none) and what was used of them
    max_cost          bigint CHECK (max_cost >= 0),
    max_steps         integer CHECK (max_steps > 0),
    max_seconds       integer CHECK (max_seconds > 0),
    cost              bigint NOT NULL DEFAULT 0,
    steps             integer NOT NULL DEFAULT 0,
    active_ms         bigint NOT NULL DEFAULT 0,
    running_since     timestamptz,
    -- what went wrong in a row, so that it ends in a pause whoever goes on
    failures          integer NOT NULL DEFAULT 0,
    nudges            integer NOT NULL DEFAULT 0,
    -- repetition is counted from this call on, context is pruned below this entry
    guard_from        integer NOT NULL DEFAULT 0,
    pruned_below      bigint NOT NULL DEFAULT 0,

    -- the repository: what came in and what goes out
    workspace_id      uuid,
    -- what it is called in lists, and its folder in the workspace
    repository        text NOT NULL,
    input_file        uuid REFERENCES files (id),
    base_branch       text,
    base_commit       text,
    head_commit       text,
    result_bundle     uuid REFERENCES files (id),
    result_diff       uuid REFERENCES files (id),
    changed_files     integer NOT NULL DEFAULT 0,
    additions         integer NOT NULL DEFAULT 0,
    deletions         integer NOT NULL DEFAULT 0,

    last_seq          bigint NOT NULL DEFAULT 0,
    last_entry        bigint NOT NULL DEFAULT 0,
    last_call         integer NOT NULL DEFAULT 0,

    UNIQUE (organization_id, name)
);
CREATE INDEX tasks_owner ON tasks (organization_id, owner_id, number DESC);
CREATE INDEX tasks_runnable ON tasks (wake_at NULLS FIRST) WHERE status IN ('queued', 'running', 'waiting');

-- Adds to the sequence of a task's events, if the caller still holds its lease. Answers the number before the first new event.
CREATE FUNCTION task_guard(task uuid, worker uuid, held bigint, events bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
BEGIN
    UPDATE tasks SET last_seq = last_seq + events, updated_at = clock_timestamp()
    WHERE id = task AND worker_id = worker AND fence = held
    RETURNING last_seq INTO last;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the lease % of task % is lost', held, task USING ERRCODE = 'SL001';
    END IF;
    RETURN last - events;
END $$;

-- What people see: one row per committed event, in order, without gaps.
CREATE TABLE task_events (
    task_id          uuid NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    seq              bigint NOT NULL CHECK (seq > 0),
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    kind             text NOT NULL,
    at               timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- json, not jsonb: models and commands write what jsonb refuses (\u0000)
    payload          json NOT NULL,
    PRIMARY KEY (task_id, seq)
);

-- What the model sees, besides the results of its calls: messages of people, answers of the model, remarks of the loop.
CREATE TABLE task_entries (
    task_id          uuid NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    position         bigint NOT NULL,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    kind             text NOT NULL CHECK (kind IN ('user', 'answer', 'remark')),
    -- of answers: the step that gave it
    step             integer,
    content          json NOT NULL,
    PRIMARY KEY (task_id, position)
);

-- Messages that wait until every call has its result.
CREATE TABLE task_messages (
    id               uuid PRIMARY KEY,
    task_id          uuid NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    number           bigint GENERATED ALWAYS AS IDENTITY,
    author_id        uuid NOT NULL REFERENCES users (id),
    author           text NOT NULL,
    text             text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX task_messages_task ON task_messages (task_id, number);

-- Model calls. The row, with the interception's id, is there before the call is made.
CREATE TABLE task_steps (
    task_id          uuid NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    number           integer NOT NULL CHECK (number > 0),
    attempt          integer NOT NULL CHECK (attempt > 0),
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    interception_id  uuid NOT NULL UNIQUE,
    state            text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'answered', 'failed')),
    -- SHA-256 of the system prompt and tool schemas that were sent
    prompts_hash     text NOT NULL,
    fence            bigint NOT NULL,
    stop_reason      text,
    cost             bigint NOT NULL DEFAULT 0,
    usage            json,
    started_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at         timestamptz,
    PRIMARY KEY (task_id, number, attempt)
);

-- Tool calls. `started` is committed before an effect may happen, the result after it.
CREATE TABLE task_calls (
    id               uuid PRIMARY KEY,
    task_id          uuid NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    -- counts all calls of the task: process `p7` is the command of call 7
    number           integer NOT NULL CHECK (number > 0),
    step             integer NOT NULL,
    model_id         text NOT NULL,
    tool             text NOT NULL,
    arguments        text NOT NULL,
    state            text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'started', 'ended')),
    fence            bigint,
    -- the start of the sandbox in which it was started: in another one its outcome is unknown
    sandbox          text,
    -- of edits: what the file holds before and after, so that an edit is never made twice
    prepared         json,
    result           json,
    signature        bytea,
    has_effect       boolean NOT NULL DEFAULT false,
    -- of commands: how far process_output has read
    cursor           bigint NOT NULL DEFAULT 0,
    started_at       timestamptz,
    ended_at         timestamptz,
    UNIQUE (task_id, number)
);
CREATE INDEX task_calls_step ON task_calls (task_id, step, number);
