-- What is of one event type, newest first. Without it a page of a rare type read its tenant's whole log.
-- Programs of the versions before work with it as they are.
CREATE INDEX deliveries_by_type ON deliveries (tenant, event_type, id);
CREATE INDEX events_by_type ON events (tenant, event_type, accepted_at, id);
