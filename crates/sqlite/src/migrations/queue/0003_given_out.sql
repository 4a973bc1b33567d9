-- How often a row was given out by a process that came after one which ended with something in hand. Only what was there
-- at the start of such a process is counted: what it was given later, nobody had in hand before.
CREATE TABLE given_out (
    source TEXT NOT NULL,
    id INTEGER NOT NULL,
    times INTEGER NOT NULL,
    PRIMARY KEY (source, id)
) STRICT, WITHOUT ROWID;
-- 1 from a process's start until it ends with nothing in hand.
INSERT INTO counter (name, value) VALUES ('in_hand', 0);
-- Rather than unreadable.
ALTER TABLE dead ADD COLUMN given_out_too_often INTEGER NOT NULL DEFAULT 0;
