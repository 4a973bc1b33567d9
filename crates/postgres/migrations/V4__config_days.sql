-- How far configuration was when a day was first looked at: what was superseded by then is older than that day, and is
-- dropped once nothing that is kept can name it. Programs of the versions before work with it as they are.
CREATE TABLE config_days (
    day integer PRIMARY KEY,
    revision bigint NOT NULL
);
