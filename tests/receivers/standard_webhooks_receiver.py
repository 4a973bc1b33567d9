"""A receiver that trusts the official Standard Webhooks library, as a customer's would.

Reads one JSON object from standard input: {"secret", "headers": {...}, "body": base64}. Answers one JSON object on
standard output: {"valid": {...what the library parsed} or null, "error": null or text}.
"""

import base64
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def main():
    given = json.load(sys.stdin)
    body = base64.b64decode(given["body"])
    try:
        answer = {"valid": Webhook(given["secret"]).verify(body, given["headers"]), "error": None}
    except WebhookVerificationError as error:
        answer = {"valid": None, "error": str(error)}
    json.dump(answer, sys.stdout)


main()
