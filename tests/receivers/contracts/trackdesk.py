from . import reading


def check(headers, body, secrets, now):
    reading.standard_webhooks(headers, body, [secret.encode() for secret in secrets], now)
    if not reading.header(headers, "X-Trackdesk-Event"):
        raise ValueError("X-Trackdesk-Event is empty")
    return reading.json_body(headers, body)
