-- When a webhook's deliveries were delivered: whether any was, these last days, is asked of webhooks that fail all the time.
CREATE INDEX delivery_delivered ON delivery (webhook, concluded_at) WHERE status = 3;
-- Small while receivers are well: what is neither pending nor delivered.
CREATE INDEX delivery_webhook_status ON delivery (webhook, status, id) WHERE status <> 3 AND status <> 0;
