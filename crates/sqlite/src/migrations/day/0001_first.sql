-- One UTC day of the log. Times are milliseconds since 1970; ids of 128 bits are 16 bytes, most significant
-- first, so that they sort by time.
CREATE TABLE event (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    in_doubt INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    timestamp INTEGER,
    schema_major INTEGER,
    schema_minor INTEGER,
    data BLOB,
    summary TEXT,
    workflow BLOB,
    matched INTEGER,
    UNIQUE (tenant, id)
) STRICT;
CREATE INDEX event_accepted_at ON event (tenant, accepted_at, id);

CREATE TABLE delivery (
    id BLOB NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    webhook BLOB NOT NULL,
    kind INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    replay INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT,
    due_at INTEGER,
    held_since INTEGER,
    concluded_at INTEGER,
    attempts INTEGER NOT NULL,
    last_code INTEGER,
    last_error TEXT,
    profile TEXT,
    webhook_revision INTEGER,
    profile_revision INTEGER,
    tenant_revision INTEGER,
    -- The first try lives here: most deliveries have no other.
    first_attempt_id BLOB,
    first_attempt BLOB
) STRICT;
CREATE INDEX delivery_tenant ON delivery (tenant, id);
CREATE INDEX delivery_webhook ON delivery (webhook, id);
CREATE INDEX delivery_event ON delivery (event_id, id);
-- Status 3 is delivered: nearly all rows, and asked for least.
CREATE INDEX delivery_status ON delivery (status, tenant, id) WHERE status <> 3;
CREATE INDEX delivery_due ON delivery (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE attempt (
    delivery BLOB NOT NULL,
    id BLOB NOT NULL,
    number INTEGER NOT NULL,
    record BLOB NOT NULL,
    UNIQUE (delivery, id)
) STRICT;
