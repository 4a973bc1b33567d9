from . import reading


def check(headers, body, secrets, now):
    expected = [reading.mac(secret.encode(), body).hexdigest() for secret in secrets]
    reading.signed(expected, [reading.header(headers, "X-Track360-Signature")])
    members = ["event_type", "event_id", "schema_version", "timestamp", "data"]
    parsed = reading.json_body(headers, body, members)
    if reading.header(headers, "X-Track360-Event") != parsed["event_type"]:
        raise ValueError("X-Track360-Event is not the body's type")
    return parsed
