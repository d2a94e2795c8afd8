"""A webhook receiver with only the standard library: what an application next to the listener does, in any language.

Usage: ``python receiver.py PORT SECRET_FILE``. Prints each verified result once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOLERANCE = 300  #: seconds that the sender's clock may be off


def verified(secret: str, headers: dict[str, str], body: bytes, *, now: float) -> bool:
    """Whether the sender knows the secret and sent this body recently (Standard Webhooks)."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > TOLERANCE:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    wanted = b"v1," + base64.b64encode(digest)
    given = headers.get("webhook-signature", "").encode("latin-1").split()
    return any(hmac.compare_digest(wanted, each) for each in given)


def serve(port: int, secret: str) -> None:
    seen: set[str] = (
        set()
    )  # an application stores this in its database, in the same transaction as the effect

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if not verified(secret, headers, body, now=time.time()):
                self.answer(401)
                return
            result = json.loads(body)
            if result["key"] not in seen:
                seen.add(result["key"])
                print(result["job_id"], result["function"], result["state"], result["data"], flush=True)
            self.answer(204)

        def answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Print results only."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]).read_text("ascii").strip())
