-- How far configuration was when a day was first looked at: what was superseded by then is older than that day.
CREATE TABLE config_day (day INTEGER PRIMARY KEY, revision INTEGER NOT NULL) STRICT;
