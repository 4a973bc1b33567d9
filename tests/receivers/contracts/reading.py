"""What every receiver here does with a request, whatever its contract."""

import base64
import hashlib
import hmac
import json

WINDOW_SECONDS = 5 * 60


def header(headers, name):
    """The value of the one header of this name, which must be written in just this case."""
    found = [(known, value) for known, value in headers if known.lower() == name.lower()]
    if len(found) != 1:
        raise ValueError(f"{name} is there {len(found)} times")
    if found[0][0] != name:
        raise ValueError(f"{name} is written {found[0][0]}")
    return found[0][1]


def has(headers, name):
    return any(known.lower() == name.lower() for known, _ in headers)


def json_body(headers, body, members=None):
    """The body, which must be an object with these members and no others."""
    if header(headers, "Content-Type") != "application/json":
        raise ValueError("not JSON by its content type")
    if not header(headers, "User-Agent").startswith("Postrider/"):
        raise ValueError("not sent by Postrider")
    parsed = json.loads(body)
    if members is not None and set(parsed) != set(members):
        raise ValueError(f"members: {sorted(parsed)}")
    return parsed


def recent(seconds, now):
    if abs(now - int(seconds)) > WINDOW_SECONDS:
        raise ValueError("stale")


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256)


def signed(expected, candidates):
    """Whether any of what should be there is there."""
    found = [hmac.compare_digest(one, other) for one in expected for other in candidates]
    if not any(found):
        raise ValueError("no matching signature")


def standard_webhooks(headers, body, keys, now):
    """`webhook-signature: v1,<base64>` over id, timestamp and body."""
    identifier, timestamp = header(headers, "webhook-id"), header(headers, "webhook-timestamp")
    recent(timestamp, now)
    message = f"{identifier}.{timestamp}.".encode() + body
    expected = ["v1," + base64.b64encode(mac(key, message).digest()).decode() for key in keys]
    signed(expected, header(headers, "webhook-signature").split(" "))
