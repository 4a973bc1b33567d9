from . import reading


def check(headers, body, secrets, now):
    expected = ["sha256=" + reading.mac(secret.encode(), body).hexdigest() for secret in secrets]
    reading.signed(expected, [reading.header(headers, "X-Trakkr-Signature")])
    parsed = reading.json_body(headers, body, ["event", "brand", "workflow", "summary", "meta"])
    for member, members in (
        ("event", ["type", "timestamp", "data"]),
        ("brand", ["id", "name", "website"]),
        ("meta", ["source", "version", "event_id"]),
    ):
        if set(parsed[member]) != set(members):
            raise ValueError(f"members of {member}: {sorted(parsed[member])}")
    return parsed
