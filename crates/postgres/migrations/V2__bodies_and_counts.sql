-- Bodies of responses in partitions of their own; what waits, counted as it changes; which programs a schema suits.
--
-- Programs of version 1 go on beside this one: their tries hold their bodies inside, what they do in the waiting
-- room is counted by the triggers.

-- The lowest version of the schema that a program may have been built for and still work with this one. A migration
-- that such a program would not survive raises it.
CREATE TABLE schema_floor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version integer NOT NULL
);
INSERT INTO schema_floor (version) VALUES (1);

-- The bodies of receivers' responses, in their delivery's day; dropped before their tries are. A try tells how long
-- its body was, so that one that is gone is not taken for an empty one.
CREATE TABLE response_bodies (
    delivery uuid NOT NULL,
    attempt uuid NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (delivery, attempt)
) PARTITION BY RANGE (delivery);

-- For the days that are there. A day's number is its name's end; ids begin with 48 bits of milliseconds.
DO $$
DECLARE
    day bigint;
BEGIN
    FOR day IN
        SELECT substring(c.relname FROM '[0-9]+$')::bigint FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'attempts'::regclass
    LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF response_bodies FOR VALUES FROM (%L) TO (%L)',
            'response_bodies_' || lpad(day::text, 6, '0'),
            lpad(to_hex(day * 86400000), 12, '0') || repeat('0', 20),
            lpad(to_hex((day + 1) * 86400000), 12, '0') || repeat('0', 20));
    END LOOP;
END $$;

-- What waits and what is released, by webhook: `room_counts` plus the sum of `room_changes`. Changes are only ever
-- added, so writers never wait for each other here; who asks folds them in now and then.
CREATE TABLE room_counts (
    webhook uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    waiting bigint NOT NULL,
    released bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE room_changes (
    webhook uuid NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    waiting bigint NOT NULL,
    released bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

LOCK TABLE waiting_room IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO room_counts
    SELECT webhook, min(tenant), count(*) - count(released_at), count(released_at) FROM waiting_room GROUP BY webhook;

CREATE FUNCTION room_counts_in() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO room_changes
        SELECT webhook, min(tenant), count(*) - count(released_at), count(released_at) FROM new_rows GROUP BY webhook;
    RETURN NULL;
END $$;
CREATE FUNCTION room_counts_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO room_changes
        SELECT webhook, min(tenant), count(released_at) - count(*), -count(released_at) FROM old_rows GROUP BY webhook;
    RETURN NULL;
END $$;
CREATE FUNCTION room_counts_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO room_changes
        SELECT webhook, min(tenant), sum(waiting), sum(released) FROM (
            SELECT webhook, tenant, (released_at IS NULL)::int AS waiting, (released_at IS NOT NULL)::int AS released
            FROM new_rows
            UNION ALL
            SELECT webhook, tenant, -(released_at IS NULL)::int, -(released_at IS NOT NULL)::int FROM old_rows
        ) AS changed GROUP BY webhook HAVING sum(waiting) <> 0 OR sum(released) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER room_counts_in AFTER INSERT ON waiting_room
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION room_counts_in();
CREATE TRIGGER room_counts_out AFTER DELETE ON waiting_room
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION room_counts_out();
CREATE TRIGGER room_counts_over AFTER UPDATE ON waiting_room
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION room_counts_over();

-- Order of release, of what may still be released.
CREATE INDEX waiting_room_waiting ON waiting_room (webhook, since, delivery, hold) WHERE released_at IS NULL;
DROP INDEX waiting_room_in_order;
