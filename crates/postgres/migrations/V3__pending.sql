-- What is pending, newest first. Small while workers keep up; without it such a page read everything that is due.
-- Programs of the versions before work with it as they are.
CREATE INDEX deliveries_pending ON deliveries (tenant, id) WHERE status = 0;
CREATE INDEX deliveries_of_webhook_pending ON deliveries (webhook, id) WHERE status = 0;
