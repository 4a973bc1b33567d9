from . import reading


def check(headers, body, secrets, now):
    expected = ["sha256=" + reading.mac(secret.encode(), body).hexdigest() for secret in secrets]
    reading.signed(expected, [reading.header(headers, "X-Tracktile-Signature")])
    parsed = reading.json_body(headers, body)
    missing = {"id", "kind", "time"} - set(parsed)
    if missing:
        raise ValueError(f"without {sorted(missing)}")
    return parsed
