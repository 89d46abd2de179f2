"""A running test server for one test: start, call, wait, end. Ending checks that no process is left."""

import http.client
import json
import os
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = os.environ.get("SPARKLEASE_TEST_PYTHON") or sys.executable
DEADLINE = 60.0


@dataclass
class Reply:
    status: int
    headers: dict
    raw: bytes

    @property
    def body(self):
        return json.loads(self.raw)

    @property
    def text(self):
        return self.raw.decode("utf-8", "replace")


class Server:
    """`Server("--flag", "value")` in a with statement."""

    def __init__(self, *flags, environment=None):
        self.process = subprocess.Popen(
            [PYTHON, str(ROOT / "server.py"), *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        self.ready = json.loads(self.process.stdout.readline())
        self.port = self.ready["port"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Its exit code is 0 only if nothing that it started is left."""
        self.process.stdin.close()
        code = self.process.wait(DEADLINE)
        self.process.stdout.close()
        assert code == 0, f"the server ended with {code}"

    def call(self, method, path, body=None, raw=None, headers=None, timeout=DEADLINE):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        sent = {
            "X-Requested-By": "test",
            "Content-Type": "application/json",
            "Accept": "*/*",
            **(headers or {}),
        }
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        try:
            target = urllib.parse.quote(path, safe="/?&=%-_.~")
            connection.request(method, target, data, {k: v for k, v in sent.items() if v is not None})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path):
        return self.call("GET", path)

    def post(self, path, body=None, **more):
        return self.call("POST", path, body, **more)

    def delete(self, path):
        return self.call("DELETE", path)

    def fault(self, **rule):
        reply = self.post("/__test/faults", rule)
        assert reply.status == 200, reply.text

    def events(self, *kinds):
        found = self.get("/__test/events").body
        return [event for event in found if not kinds or event["event"] in kinds]

    def processes(self, number):
        return next(entry for entry in self.get("/__test/sessions").body if entry["id"] == number)

    def open(self, **fields):
        """Creates a session and waits until it is idle; its id."""
        number = self.post("/sessions", {"kind": "pyspark", **fields}).body["id"]
        wait_for(lambda: self.get(f"/sessions/{number}/state").body["state"] == "idle")
        return number

    def start(self, session, code, **fields):
        """Posts a statement; its id."""
        reply = self.post(f"/sessions/{session}/statements", {"code": code, **fields})
        assert reply.status == 201, reply.text
        return reply.body["id"]

    def run(self, session, code, **fields):
        """Runs a statement; its output."""
        path = f"/sessions/{session}/statements/{self.start(session, code, **fields)}"
        return wait_for(lambda: self.get(path).body["output"])


def wait_for(claim, what="it"):
    until = time.monotonic() + DEADLINE
    while True:
        value = claim()
        if value:
            return value
        assert time.monotonic() < until, f"{what} did not happen within {DEADLINE} s"
        time.sleep(0.01)
