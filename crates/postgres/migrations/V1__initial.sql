-- The schema of Postrider.
--
-- Times are milliseconds since 1970 UTC. Ids that Postrider makes are uuid: their bytes, big-endian, so they
-- sort by time. Words that others wrote and that must sort by byte are COLLATE "C". What a customer or a
-- receiver wrote is bytea, never text or json: a zero byte or a lone surrogate must not stop a batch.
--
-- Small codes: status 0 pending, 1 retrying, 2 held, 3 delivered, 4 failed, 5 canceled, 6 expired;
-- kind 0 webhook, 1 postback; origin 0 producer, 1 test, 2 operator; why 0 paused, 1 rate limited, 2 overflow.

-- Configuration -------------------------------------------------------------------------------------------

-- One row. Every change takes the next number under its row lock, so changes commit in the order of their numbers.
CREATE TABLE config_counter (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint NOT NULL
);
INSERT INTO config_counter (revision) VALUES (0);

-- The newest state of each document. tenant is '' for what belongs to the installation.
CREATE TABLE config_documents (
    kind text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    revision bigint NOT NULL UNIQUE,
    document bytea,
    PRIMARY KEY (kind, tenant, id)
);

-- Every state of each document.
CREATE TABLE config_history (
    kind text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    document bytea,
    PRIMARY KEY (kind, tenant, id, revision)
);

-- Keyed requests ------------------------------------------------------------------------------------------

-- space 0: keys of requests; 1: event ids that producers bring.
CREATE TABLE keyed_requests (
    tenant text COLLATE "C" NOT NULL,
    space smallint NOT NULL,
    name bytea NOT NULL,
    body_hash bytea NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    accepted_at bigint NOT NULL,
    matches bytea NOT NULL,
    is_confirmed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant, space, name)
) WITH (fillfactor = 85);
CREATE INDEX keyed_requests_by_time ON keyed_requests (accepted_at);

-- The log, by day of acceptance ---------------------------------------------------------------------------
-- No DEFAULT partition: days are made ahead, a missing one is made when it is first written, and a row whose
-- day is absurd is set aside in log_refused.

CREATE TABLE events (
    tenant text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    accepted_at bigint NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    origin smallint NOT NULL,
    schema_major integer NOT NULL,
    schema_minor integer NOT NULL,
    happened_at bigint NOT NULL,
    matched integer NOT NULL,
    data bytea NOT NULL,
    summary bytea,
    workflow bytea,
    PRIMARY KEY (tenant, id, accepted_at)
) PARTITION BY RANGE (accepted_at);
CREATE INDEX events_by_time ON events (tenant, accepted_at, id);

-- Events of which only other records told so far. Not partitioned: a replay's accept time is not its event's.
CREATE TABLE events_in_doubt (
    tenant text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    accepted_at bigint NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX events_in_doubt_by_time ON events_in_doubt (tenant, accepted_at, id);

-- A delivery's id begins with its accept time, so the id alone finds the day.
CREATE TABLE deliveries (
    id uuid NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    webhook uuid NOT NULL,
    kind smallint NOT NULL,
    origin smallint NOT NULL,
    replay bigint NOT NULL,
    accepted_at bigint NOT NULL,
    rank bigint NOT NULL,
    status smallint NOT NULL,
    reason text,
    due_at bigint,
    held_since bigint,
    concluded_at bigint,
    attempts bigint NOT NULL,
    last_code integer,
    last_error text,
    profile text,
    rendered_webhook bigint,
    rendered_profile bigint,
    rendered_tenant bigint,
    first_attempt_id uuid,
    first_attempt bytea,
    -- How often the row was written: 1 tells that it has just been inserted.
    writes integer NOT NULL DEFAULT 1,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX deliveries_by_tenant ON deliveries (tenant, id);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, id);
-- Small while receivers are well: what is delivered is found through the two above, what is pending through the next.
CREATE INDEX deliveries_by_status ON deliveries (tenant, status, id) WHERE status NOT IN (0, 3);
CREATE INDEX deliveries_of_webhook_by_status ON deliveries (webhook, status, id) WHERE status NOT IN (0, 3);
CREATE INDEX deliveries_by_due_at ON deliveries (due_at) WHERE concluded_at IS NULL;
-- An event's own deliveries are found by their time, which is the event's.
CREATE INDEX deliveries_replayed ON deliveries (tenant, event_id, id) WHERE replay > 0;
CREATE INDEX deliveries_by_odd_code ON deliveries (tenant, last_code, id)
    WHERE last_code < 200 OR last_code > 299;

-- Every try but the one kept inside its delivery's row; in its delivery's day.
CREATE TABLE attempts (
    delivery uuid NOT NULL,
    id uuid NOT NULL,
    attempt bytea NOT NULL,
    PRIMARY KEY (delivery, id)
) PARTITION BY RANGE (delivery);

-- What could not be written, so that it is seen and not lost without a word.
CREATE TABLE log_refused (
    kind text NOT NULL,
    id text NOT NULL,
    reason text NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, id)
);

-- The waiting room ----------------------------------------------------------------------------------------

CREATE TABLE waiting_room (
    delivery uuid NOT NULL,
    hold bigint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    webhook uuid NOT NULL,
    why smallint NOT NULL,
    since bigint NOT NULL,
    -- The highest rank its delivery has while a release of this hold is under way.
    released_rank bigint NOT NULL,
    released_at bigint,
    payload bytea NOT NULL,
    PRIMARY KEY (delivery, hold)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
-- Order of release, and, without touching the table, the summaries.
CREATE INDEX waiting_room_in_order ON waiting_room (webhook, since, delivery, hold) INCLUDE (tenant, released_at);
CREATE INDEX waiting_room_released ON waiting_room (released_at) WHERE released_at IS NOT NULL;
