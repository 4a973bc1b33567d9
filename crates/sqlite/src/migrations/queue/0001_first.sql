-- Work, one table a kind: a row's id is its place in the line, so taking the next rows scans nothing else.
CREATE TABLE work_first (id INTEGER PRIMARY KEY, payload BLOB NOT NULL) STRICT;
CREATE TABLE work_release (id INTEGER PRIMARY KEY, payload BLOB NOT NULL) STRICT;
CREATE TABLE work_large (id INTEGER PRIMARY KEY, payload BLOB NOT NULL) STRICT;
-- Parked until due_at (milliseconds since 1970).
CREATE TABLE work_retry (id INTEGER PRIMARY KEY, due_at INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
CREATE INDEX work_retry_due ON work_retry (due_at);

-- The journal's outbox, one row a batch.
CREATE TABLE journal (id INTEGER PRIMARY KEY, written_at INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
CREATE INDEX journal_written_at ON journal (written_at);

-- What nobody could read, set aside.
CREATE TABLE dead (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    buried_at INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;

-- Configuration. A tenant of '' means the whole installation; no document means deleted.
CREATE TABLE config (
    kind TEXT NOT NULL,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    document BLOB,
    PRIMARY KEY (kind, tenant, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX config_revision ON config (revision);
CREATE TABLE config_history (
    kind TEXT NOT NULL,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    document BLOB,
    PRIMARY KEY (kind, tenant, id, revision)
) STRICT, WITHOUT ROWID;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('revision', 0);

-- Always empty: written to and emptied again to learn whether the disk has space.
CREATE TABLE probe (space BLOB NOT NULL) STRICT;

-- Keyed requests. name_kind: 0 an idempotency key, 1 a producer's event id.
CREATE TABLE keyed_request (
    tenant TEXT NOT NULL,
    name_kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    event TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    is_confirmed INTEGER NOT NULL DEFAULT 0,
    matches BLOB NOT NULL,
    PRIMARY KEY (tenant, name_kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX keyed_request_accepted_at ON keyed_request (accepted_at);

-- The waiting room: held deliveries, whole.
CREATE TABLE room (
    id INTEGER PRIMARY KEY,
    delivery BLOB NOT NULL,
    holds INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    webhook BLOB NOT NULL,
    why TEXT NOT NULL,
    since INTEGER NOT NULL,
    released_at INTEGER,
    payload BLOB NOT NULL,
    UNIQUE (delivery, holds)
) STRICT;
CREATE INDEX room_waiting ON room (webhook, since, delivery) WHERE released_at IS NULL;
CREATE INDEX room_released ON room (released_at) WHERE released_at IS NOT NULL;
-- How many rows each webhook has, kept by triggers: it is asked every second, whatever the room's size.
CREATE TABLE room_count (
    webhook BLOB PRIMARY KEY,
    tenant TEXT NOT NULL,
    waiting INTEGER NOT NULL,
    released INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER room_inserted AFTER INSERT ON room BEGIN
    INSERT INTO room_count (webhook, tenant, waiting, released)
    VALUES (NEW.webhook, NEW.tenant, NEW.released_at IS NULL, NEW.released_at IS NOT NULL)
    ON CONFLICT (webhook) DO UPDATE SET
        waiting = waiting + excluded.waiting,
        released = released + excluded.released;
END;
CREATE TRIGGER room_updated AFTER UPDATE OF released_at ON room BEGIN
    UPDATE room_count SET
        waiting = waiting + (NEW.released_at IS NULL) - (OLD.released_at IS NULL),
        released = released + (NEW.released_at IS NOT NULL) - (OLD.released_at IS NOT NULL)
    WHERE webhook = NEW.webhook;
END;
CREATE TRIGGER room_deleted AFTER DELETE ON room BEGIN
    UPDATE room_count SET
        waiting = waiting - (OLD.released_at IS NULL),
        released = released - (OLD.released_at IS NOT NULL)
    WHERE webhook = OLD.webhook;
    DELETE FROM room_count WHERE webhook = OLD.webhook AND waiting = 0 AND released = 0;
END;
