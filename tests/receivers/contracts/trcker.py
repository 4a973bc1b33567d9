from . import reading


def check(headers, body, secrets, now):
    time, *signatures = reading.header(headers, "X-Trcker-Signature").split(",")
    if not time.startswith("t=") or not all(signature.startswith("v1=") for signature in signatures):
        raise ValueError("not t=…,v1=…")
    seconds = time.removeprefix("t=")
    reading.recent(seconds, now)
    message = seconds.encode() + b"." + body
    expected = ["v1=" + reading.mac(secret.encode(), message).hexdigest() for secret in secrets]
    reading.signed(expected, signatures)
    parsed = reading.json_body(headers, body, ["id", "event", "createdAt", "brandId", "data"])
    if reading.header(headers, "X-Trcker-Event") != parsed["event"]:
        raise ValueError("X-Trcker-Event is not the body's event")
    if not reading.header(headers, "X-Trcker-Webhook-Id").startswith("wh_"):
        raise ValueError("X-Trcker-Webhook-Id is no id")
    return parsed
