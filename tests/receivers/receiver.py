"""A customer's receiver of one delivery contract: `receiver.py CONTRACT` listens on a free port of the loopback
interface and prints its number.

A delivery is judged by what its path was told to expect, and answered with 204 or, if it is refused, with 503, so that it
comes again. For the test there are three more routes:

    POST /control/expect  {"path", "secrets", "authentication": {name: value}, "clock_ahead": seconds, "failing": bool}
    GET  /control/seen    every delivery: path, headers, body in base64, and what was said of it
    POST /control/judge   {"path", "headers", "body"}: says, without a delivery, what would be said of it
"""

import base64
import importlib
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What no request carries unless its receiver asked for it.
CREDENTIALS = ("Authorization", "X-Partner-Key")

contract = importlib.import_module(f"contracts.{sys.argv[1]}")
lock = threading.Lock()
expected = {}
seen = []


def check_credentials(headers, wanted):
    for name in CREDENTIALS:
        found = [value for known, value in headers if known.lower() == name.lower()]
        if found != ([wanted[name]] if name in wanted else []):
            raise ValueError(f"not the {name} that was agreed")


def judge(path, headers, body):
    """The parsed body, or why it is refused."""
    with lock:
        wanted = dict(expected[path])
    try:
        check_credentials(headers, wanted["authentication"])
        now = time.time() + wanted["clock_ahead"]
        return {"parsed": contract.check(headers, body, wanted["secrets"], now), "error": None}
    except ValueError as error:
        return {"parsed": None, "error": str(error)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer go out together.
    wbufsize = -1

    def do_GET(self):
        with lock:
            self.answer(200, seen)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/control/expect":
            said = json.loads(body)
            with lock:
                expected[said["path"]] = said
            self.answer(200, {})
        elif self.path == "/control/judge":
            said = json.loads(body)
            self.answer(200, judge(said["path"], said["headers"], base64.b64decode(said["body"])))
        else:
            self.take(body)

    def take(self, body):
        headers = [[name, value] for name, value in self.headers.items()]
        verdict = judge(self.path, headers, body)
        with lock:
            is_failing = expected[self.path]["failing"]
            delivery = {"path": self.path, "headers": headers, "body": base64.b64encode(body).decode()}
            seen.append({**delivery, **verdict, "failing": is_failing})
        self.answer(503 if is_failing or verdict["error"] else 204, None)

    def answer(self, status, value):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
