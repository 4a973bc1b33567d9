"""A receiver that verifies `X-Trcker-Signature: t=<unix s>,v1=<hex>` as its documentation says, with nothing but
Python's standard library: HMAC-SHA256(secret, t + "." + body), and a window of five minutes on t.

Reads one JSON object from standard input: {"secret", "headers": {...}, "body": base64}. Answers one JSON object on
standard output: {"valid": {...the parsed body} or null, "error": null or text}.
"""

import base64
import hashlib
import hmac
import json
import sys
import time

WINDOW_SECONDS = 5 * 60


def verify(secret, headers, body):
    headers = {name.lower(): value for name, value in headers.items()}
    parts = dict(part.split("=", 1) for part in headers["x-trcker-signature"].split(","))
    if abs(time.time() - int(parts["t"])) > WINDOW_SECONDS:
        raise ValueError("too old or too new")
    signed = parts["t"].encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, parts["v1"]):
        raise ValueError("no matching signature")
    return json.loads(body)


def main():
    given = json.load(sys.stdin)
    try:
        answer = {"valid": verify(given["secret"], given["headers"], base64.b64decode(given["body"])), "error": None}
    except (KeyError, ValueError) as error:
        answer = {"valid": None, "error": str(error)}
    json.dump(answer, sys.stdout)


main()
