-- When a webhook's deliveries were delivered. Whether any was, these last days, is asked of webhooks that fail all the
-- time; without it the answer read all that they have in the log. Programs of the versions before work with it as they are.
-- That the time is there is said so that lists, which do not ask for it, are not answered from here and then sorted.
CREATE INDEX deliveries_of_webhook_delivered ON deliveries (webhook, concluded_at)
    WHERE status = 3 AND concluded_at IS NOT NULL;
