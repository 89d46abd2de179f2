"""Replays every recorded exchange of a real Livy against this server; tolerated.py says what may differ."""

import base64
import json
import os
import re
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import livy_server
import tolerated
from livy_server import Server

CASES = Path(__file__).resolve().parents[2] / "cases" / "livy"
# The recordings' seconds are tenths here: sleeps of statements, waits, the server's own limits.
SCALE = 0.1
FLAGS = [
    "--engine",
    os.environ.get("LIVY_TEST_ENGINE", "sail"),
    "--start-seconds",
    "0.1",
    "--sleep-scale",
    str(SCALE),
]
FLAGS += ["--shutdown-timeout", "1", "--job-cancel-timeout", "4"]
# Files with the id of their first session and the flags that their server had.
FILES = {
    "lifecycle": ("0",),
    "errors": ("6",),
    "cancel": ("12",),
    "statements": ("14",),
    "deaths": ("15",),
    "csrf": ("0", "--csrf"),
    "limits": ("0", "--max-creation", "2"),
}
TRANSIENT = ("waiting", "running", "cancelling")
HEADERS = ("content-type", "location", "allow")
FAKES = str(Path(__file__).resolve().parent / "fakes")


def load(name):
    """The exchanges; what has no request is the later half of the one before it."""
    found = []
    for line in (CASES / f"{name}.jsonl").read_text("utf-8").splitlines():
        exchange = json.loads(line)
        exchange.setdefault("at_ms", found[-1]["at_ms"] if found else 0)
        exchange.setdefault("took_ms", 0)
        if "request" not in exchange:
            place = found[-1]["response"]["headers"]["location"]
            exchange["request"] = {"method": "GET", "path": place}
            exchange["response"].setdefault("headers", {})
        found.append(exchange)
    return found


def groups(exchanges):
    """Neighbouring GETs of one path in one case are one poll."""
    together = []
    for exchange in exchanges:
        key = (exchange["case"], exchange["request"]["path"])
        polled = exchange["request"]["method"] == "GET"
        if together and polled and together[-1][0] == key:
            together[-1][1].append(exchange)
        else:
            together.append((key if polled else None, [exchange]))
    return [group for _, group in together]


def normal(value, field="", case=""):
    """What is compared: the same on both sides unless something differs that matters."""
    if isinstance(value, dict):
        if (
            value.get("status") == "error"
            and "ename" in value
            and tolerated.case_in(case, tolerated.ERRORS_OF_SPARK)
        ):
            return {"status": "error", "keys": sorted(value)}
        return {key: normal(item, key, case) for key, item in value.items()}
    if field == "log":
        return value[:2] if value[:2] == ["stdout: ", "\nstderr: "] else f"{min(len(value), 1)} or more lines"
    if isinstance(value, list):
        items = [normal(item, field, case) for item in value]
        return [item for item in items if item != ""] if field == "traceback" else items
    if field in ("started", "completed"):
        return "<ms>" if value else 0
    if field in ("nullable", "containsNull", "valueContainsNull"):
        return tolerated.NULLABLE
    if field == "code":
        return tolerated.SUBSTITUTES.get(value, value)
    return tolerated.text(field, value) if isinstance(value, str) else value


def body_of(response):
    """A recorded body: JSON, or text that may be cut."""
    if "body" in response:
        return response["body"]
    return response["text"]


class Replay(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        # They mostly wait, so they run at the same time; each test then reads its own result.
        cls.pool = ThreadPoolExecutor(max_workers=3)
        names = sorted(FILES, key=lambda name: name not in ("cancel", "deaths"))
        cls.results = {name: cls.pool.submit(cls().replay, name) for name in names}
        cls.addClassCleanup(cls.pool.shutdown)

    def runTest(self):
        """Only there so that setUpClass can make one."""

    def replay(self, name):
        """How many exchanges were compared, and what differed."""
        first, *flags = FILES[name]
        failures, count, before = [], 0, 0
        environment = {"PYTHONPATH": FAKES}
        with Server(*FLAGS, "--first-id", first, *flags, environment=environment) as server:
            for group in groups(load(name)):
                gap = (group[0]["at_ms"] - before) / 1000
                if gap > 1.5:
                    time.sleep(gap * SCALE)
                try:
                    self.exchange(server, group)
                except Exception as problem:
                    wanted = group[-1]
                    failures.append(f"{wanted['case']}, {wanted['request']['path']}: {problem}")
                count += len(group)
                before = group[-1]["at_ms"] + group[-1]["took_ms"]
        return count, failures

    def same(self, name, exchanges):
        count, failures = self.results[name].result()
        self.assertEqual(failures, [], "\n\n".join(failures))
        self.assertEqual(count, exchanges)

    def send(self, server, request):
        raw = request.get("raw")
        body = request.get("body")
        if body == "(2 MB)":
            text = base64.b64encode(b"x = 7\n" + b"#" * 1_500_000).decode()
            body = {"code": f"import base64\nexec(compile(base64.b64decode('{text}'), '<cell>', 'exec'))\nx"}
        elif isinstance(body, dict) and "code" in body:
            body = {**body, "code": tolerated.SUBSTITUTES.get(body["code"], body["code"])}
        return server.call(
            request["method"],
            request["path"],
            body,
            raw=None if raw is None else raw.encode(),
            headers=request.get("headers"),
        )

    def exchange(self, server, group):
        wanted = group[-1]
        until = time.monotonic() + livy_server.DEADLINE
        while True:
            reply = self.send(server, wanted["request"])
            early = self.is_earlier(reply, wanted["response"])
            if not early or time.monotonic() > until:
                self.compare(wanted, reply)
                return
            self.plausible(group, reply)
            time.sleep(0.005)

    def is_earlier(self, reply, response):
        """A poll that has not come to its recorded end yet."""
        listed = response.get("body")
        if reply.raw.startswith(b'{"total_statements"') and isinstance(listed, dict):
            pairs = zip(reply.body["statements"], listed["statements"])
            return any(
                ours["state"] != theirs["state"] and ours["state"] in TRANSIENT for ours, theirs in pairs
            )
        if not reply.raw.startswith(b'{"id"') or reply.status != 200:
            return False
        state = reply.body.get("state")
        recorded = body_of(response)
        if isinstance(recorded, dict):
            wanted = recorded.get("state")
            if state == wanted and recorded.get("output") and reply.body.get("output", True) is None:
                # As on a real server, an output may come after its state.
                return True
        else:
            # A text that was cut, or the refusal that the last poll met.
            found = re.search(r'"state":"(\w+)"', recorded)
            wanted = found[1] if found else ""
        return state != wanted and state in (*TRANSIENT, "starting", "idle", "busy")

    def plausible(self, group, reply):
        """An answer before the last one has the form of those recorded."""
        forms = [set(e["response"]["body"]) for e in group if isinstance(e["response"].get("body"), dict)]
        if forms:
            self.assertIn(set(reply.body), forms)

    def compare(self, exchange, reply):
        response = exchange["response"]
        self.assertEqual(reply.status, response["status"], reply.text[:500])
        for name in HEADERS:
            if name in response["headers"]:
                self.assertEqual(reply.headers.get(name, "").lower(), response["headers"][name].lower())
        if tolerated.case_in(exchange["case"], tolerated.LEFT_OUT):
            return
        recorded = body_of(response)
        if "text" in response:
            self.compare_text(exchange, recorded, reply)
            return
        found = normal(reply.body, case=exchange["case"])
        wanted = normal(recorded, case=exchange["case"])
        if exchange["request"]["method"] == "POST" and isinstance(wanted, dict) and "progress" in wanted:
            # A statement's POST answers with whatever it has come to by then.
            self.assertEqual(
                (found["id"], found["code"], set(found)), (wanted["id"], wanted["code"], set(wanted))
            )
            return
        if isinstance(wanted, dict) and wanted.get("code") == "(2 MB)":
            found["code"] = wanted["code"]
        if isinstance(wanted, dict) and "total" in wanted and "log" in wanted:
            # Our log is shorter than a JVM's; what the numbers mean is the same.
            self.assertEqual(set(found), set(wanted))
            self.assertLessEqual(found["from"], found["total"])
            return
        self.assertEqual(found, wanted)

    def compare_text(self, exchange, recorded, reply):
        """A text that was cut: its beginning, and its length where the engine has no part in it."""
        shown, cut, length = recorded, "", ""
        found = re.fullmatch(r"(?s)(.*)… \((\d+) characters\)", recorded)
        if found:
            shown, cut, length = found[1], found[0], found[2]
        if shown.startswith("<html>"):
            title = re.compile(r"<title>.*</title>")
            ours, theirs = title.search(reply.text), title.search(shown)
            self.assertEqual(bool(ours) and ours[0], bool(theirs) and theirs[0])
            self.assertTrue(reply.text.startswith("<html>"))
        elif exchange["request"].get("body") == "(2 MB)":
            self.assertEqual(reply.text[:200], shown[:200])
        elif '"ename"' in shown or '"image/png"' in shown:
            head = re.match(r'.*?"(?:status":"error"|image/png":"iVBORw0KGgo)', shown)[0]
            self.assertTrue(reply.text.startswith(head), reply.text[:300])
        else:
            self.assertEqual(reply.text[: len(shown)], shown)
            if cut:
                self.assertEqual(len(reply.text), int(length))

    def test_lifecycle(self):
        self.same("lifecycle", 54)

    def test_statements(self):
        self.same("statements", 145)

    def test_cancel(self):
        self.same("cancel", 52)

    def test_deaths(self):
        self.same("deaths", 224)

    def test_errors(self):
        self.same("errors", 30)

    def test_csrf(self):
        self.same("csrf", 3)

    def test_limits(self):
        self.same("limits", 6)
