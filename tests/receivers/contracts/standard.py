from . import reading
import base64


def check(headers, body, secrets, now):
    keys = [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in secrets]
    reading.standard_webhooks(headers, body, keys, now)
    return reading.json_body(headers, body, ["type", "timestamp", "data"])
