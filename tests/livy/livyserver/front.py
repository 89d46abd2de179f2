"""The socket side: requests in, answers out, sign-in, redirects, and everything that may go wrong between."""

import base64
import contextlib
import hmac
import http.server
import itertools
import json
import re
import socket
import socketserver
import ssl
import sys
import threading
import time
import traceback
import urllib.parse
from typing import Any, Optional

from . import bodies
from .admin import PREFIX, Admin
from .bodies import Answer
from .events import Events
from .faults import Faults, Rule
from .routes import Routes
from .settings import Settings
from .table import Table

# Bytes of a request's body that the event log keeps; a longer one is left out.
SHOWN = 4096


class ClosedError(Exception):
    """The connection ends here without an answer."""


class Front(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, settings: Settings, secret: str) -> None:
        self.settings = settings
        self.events = Events(settings.events)
        self.faults = Faults(settings.seed)
        self.table = Table(settings, self.events)
        self.routes = Routes(self.table)
        self.admin = Admin(self.table, self.faults, self.events)
        self.admin.secret = secret
        self.numbers = itertools.count()
        self.bugs = 0
        self.tls: Optional[ssl.SSLContext] = None
        if settings.tls_cert:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(settings.tls_cert, settings.tls_key)
        super().__init__((settings.host, settings.port), Handler)

    @property
    def address(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.settings.host}:{self.server_address[1]}{self.settings.base_path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def setup(self) -> None:
        # Small answers at once: without this a poll costs 40 ms.
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on stderr: the event log has it."""

    def __getattr__(self, name: str) -> Any:
        # Every method comes here: the routes decide which are known.
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        try:
            raw = self._read()
            split = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
            if split.path.startswith(PREFIX + "/"):
                self._send(self.server.admin.answer(self.command, split.path, query, raw))
                return
            number = next(self.server.numbers)
            what = {"request": number, "method": self.command, "path": self.path}
            headers = {name.lower(): value for name, value in self.headers.items()}
            shown = raw.decode("utf-8", "replace") if len(raw) <= SHOWN else None
            self.server.events.add("request", **what, bytes=len(raw), headers=headers, body=shown)
            rule = self.server.faults.find(self.command, split.path, raw)
            if rule is not None:
                self.server.events.add("fault", request=number, fault=rule.fault, rule=rule.id)
                answer = self._faulty(rule, split.path, query, raw)
            else:
                answer = self._answer(split.path, query, raw)
            if answer.status == 0:
                raise ClosedError
            self.server.events.add("answered", request=number, status=answer.status)
            self._send(answer)
        except (ClosedError, OSError):
            self._hang_up()
        except Exception:
            # A fault of this server, not one that was asked for: its exit code says so.
            text = traceback.format_exc()
            self.server.bugs += 1
            self.server.events.add("bug", method=self.command, path=self.path, text=text)
            print(text, file=sys.stderr)
            self._send(bodies.bare(500, text))

    # The request.
    def _read(self) -> bytes:
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            return self._read_chunks()
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        if len(raw) < length:
            # Half a request does nothing.
            self.server.events.add("truncated", method=self.command, path=self.path, bytes=len(raw))
            raise ClosedError
        return raw

    def _read_chunks(self) -> bytes:
        raw = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0] or b"-1", 16)
            data = self.rfile.read(size + 2) if size >= 0 else b""
            if size < 0 or len(data) < size + 2:
                self.server.events.add("truncated", method=self.command, path=self.path, bytes=len(raw))
                raise ClosedError
            if size == 0:
                return raw
            raw += data[:-2]

    def _answer(self, path: str, query: dict[str, str], raw: bytes) -> Answer:
        settings = self.server.settings
        if settings.redirect_to:
            return Answer(301, b"", "", {"location": settings.redirect_to + self.path})
        refused = self._refuse(path)
        if refused is not None:
            return refused
        if settings.base_path:
            if not path.startswith(settings.base_path):
                return bodies.html(404, "Not Found", path)
            path = path[len(settings.base_path) :] or "/"
        return self.server.routes.answer(self.command, path, query, raw)

    def _refuse(self, path: str) -> Optional[Answer]:
        settings, secret = self.server.settings, self.server.admin.secret
        given = self.headers.get("Authorization", "")
        wanted = {
            "basic": "Basic " + base64.b64encode(secret.encode()).decode(),
            "bearer": f"Bearer {secret}",
        }
        if settings.auth != "none" and not hmac.compare_digest(
            given.encode(), wanted[settings.auth].encode()
        ):
            answer = bodies.html(401, "Unauthorized", path)
            challenge = 'Basic realm="livy"' if settings.auth == "basic" else "Bearer"
            answer.headers["www-authenticate"] = challenge
            return answer
        name, _, value = settings.require_header.partition("=")
        if name and self.headers.get(name) != value:
            return bodies.html(403, "Forbidden", path)
        changes = self.command not in ("GET", "HEAD", "OPTIONS")
        if settings.csrf and changes and not self.headers.get("X-Requested-By"):
            return bodies.csrf(self.command, self.headers.get("Accept", ""), path)
        return None

    # Faults.
    def _faulty(self, rule: Rule, path: str, query: dict[str, str], raw: bytes) -> Answer:
        kind = rule.fault
        if kind == "lose_request":
            raise ClosedError
        if kind == "delay_request":
            time.sleep(rule.seconds)
        if kind == "late_apply":
            self._later(rule.seconds, path, query, raw)
            return planned(rule)
        if kind == "answer" and not rule.act:
            return planned(rule)
        if kind == "half_open" and not rule.act:
            self._hold(rule.seconds)
        answer = self._answer(path, query, raw)
        if kind == "duplicate":
            answer = self._answer(path, query, raw)
        elif kind == "lose_reply":
            raise ClosedError
        elif kind == "delay_reply":
            time.sleep(rule.seconds)
        elif kind == "answer":
            return planned(rule)
        elif kind == "half_open":
            self._hold(rule.seconds)
        elif kind == "state_word":
            answer.body = re.sub(rb'"state":"\w+"', b'"state":"' + rule.word.encode() + b'"', answer.body)
        elif kind == "plant":
            plant(rule, answer)
        elif kind == "cut":
            self._send(answer, only=rule.length)
            raise ClosedError
        elif kind == "wrong_length":
            self._send(answer, claim=len(answer.body) + (rule.length))
            raise ClosedError
        return answer

    def _later(self, seconds: float, path: str, query: dict[str, str], raw: bytes) -> None:
        command, routes = self.command, self.server.routes
        where = path[len(self.server.settings.base_path) :] or "/"

        def apply() -> None:
            answer = routes.answer(command, where, query, raw)
            self.server.events.add("applied_late", method=command, path=path, status=answer.status)

        timer = threading.Timer(seconds, apply)
        timer.daemon = True
        timer.start()

    def _hold(self, seconds: float) -> None:
        """Keeps the connection without a byte, until the client leaves or the time is up (0: an hour)."""
        self.request.settimeout(seconds or 3600)
        with contextlib.suppress(OSError):
            self.request.recv(1)
        raise ClosedError

    # The answer.
    def _send(self, answer: Answer, only: int = -1, claim: int = -1) -> None:
        reason = http.server.BaseHTTPRequestHandler.responses.get(answer.status, ("Unknown",))[0]
        lines = [f"HTTP/1.1 {answer.status} {reason}", self.date_time_string().join(("Date: ", ""))]
        if answer.content_type:
            lines.append(f"Content-Type: {answer.content_type}")
        lines += [f"{name.title()}: {value}" for name, value in answer.headers.items()]
        if answer.status not in (204, 304):
            lines.append(f"Content-Length: {claim if claim >= 0 else len(answer.body)}")
        body = b"" if self.command == "HEAD" else answer.body
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        # One piece: see setup.
        self.request.sendall(head + (body if only < 0 else body[:only]))

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)


def planned(rule: Rule) -> Answer:
    """The answer that a rule spells out: JSON, text, or nothing."""
    if rule.json is not None:
        body, kind = json.dumps(rule.json).encode(), bodies.JSON_TYPE
    else:
        body = rule.text.encode()
        kind = "text/html;charset=utf-8" if rule.text.lstrip().startswith("<") else "text/plain"
    return Answer(rule.status, body, rule.content_type or (kind if body else ""), dict(rule.headers))


def plant(rule: Rule, answer: Answer) -> None:
    """Puts a text where a careless client would show it."""
    if rule.where == "header":
        answer.headers["x-planted"] = rule.text
        return
    if rule.status != 500 or rule.act:
        answer.status = rule.status
    value = json.loads(answer.body) if answer.body else {}
    if rule.where == "msg":
        value = {"msg": rule.text}
    elif isinstance(value, str):
        value = f"{value} {rule.text}"
    elif rule.where == "log" and isinstance(value.get("log"), list):
        value["log"] = [*value["log"], rule.text]
    elif isinstance(value.get("output"), dict):
        output = value["output"]
        if output["status"] == "ok":
            output["data"] = {"text/plain": rule.text}
        else:
            output["evalue"] = rule.text
    else:
        value = {**value, "planted": rule.text}
    answer.body = bodies.dumps(value)
