"""The routes of a Livy server. They answer; they know nothing of faults, sign-in or the socket."""

import re
import time
import urllib.parse
from collections.abc import Callable
from typing import Any, Optional

from . import bodies
from .bodies import Answer, RefusedError
from .create_request import KINDS, read
from .session import RUNS, Session, Statement
from .table import Table

STATEMENT_FIELDS = ["msg_type", "kind", "code"]
STARTED = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Routes:
    def __init__(self, table: Table) -> None:
        self._table = table
        self._settings = table.settings
        key, number = r"/sessions/([^/]+)", r"/statements/([^/]+)"
        # Path, then per method what answers. Where no method fits: 405 with those in this order.
        self._routes: list[tuple[re.Pattern[str], dict[str, Callable[..., Answer]]]] = [
            (re.compile(pattern), methods)
            for pattern, methods in (
                (r"/|/ui(?:/.*)?", {"GET": self._page}),
                (r"/version", {"GET": self._version}),
                (r"/metrics/ping", {"GET": lambda call: Answer(200, b"pong\n", "text/plain")}),
                (r"/metrics/healthcheck", {"GET": lambda call: bodies.as_json(501, {})}),
                (r"/sessions/?", {"POST": self._create, "GET": self._list}),
                (key, {"DELETE": self._delete, "GET": self._get}),
                (key + r"/state", {"GET": self._state}),
                (key + r"/log", {"GET": self._log}),
                (key + r"/connect", {"POST": self._connect}),
                (key + r"/stop", {"POST": self._stop}),
                (key + r"/interrupt", {"POST": self._interrupt}),
                (key + r"/completion", {"POST": self._completion}),
                (key + r"/statements", {"POST": self._run, "GET": self._statements}),
                (key + number, {"GET": self._statement}),
                (key + number + r"/cancel", {"POST": self._cancel}),
                (r"/batches/?", {"POST": self._create_batch, "GET": self._list_batches}),
                (r"/batches/([^/]+)(?:/.*)?", dict.fromkeys(("DELETE", "GET", "POST"), self._no_batch)),
            )
        ]

    def answer(self, method: str, path: str, query: dict[str, str], raw: bytes) -> Answer:
        for pattern, methods in self._routes:
            found = pattern.fullmatch(path)
            if not found:
                continue
            work = methods.get("GET" if method == "HEAD" else method)
            if work is None:
                allowed = [*methods, *(["HEAD"] if "GET" in methods else [])]
                return Answer(405, b"", headers={"allow": ", ".join(allowed)})
            parts = [urllib.parse.unquote(part) for part in found.groups() if part is not None]
            try:
                return work(Call(query, raw), *parts)
            except RefusedError as refused:
                return refused.answer
            except ValueError as problem:
                return bodies.message(400, str(problem))
        return Answer(404, b"", "text/html;charset=utf-8")

    # Around sessions.
    def _page(self, call: "Call") -> Answer:
        return Answer(200, b"<html>\n      <head>\n      </head>\n</html>", "text/html;charset=utf-8")

    def _version(self, call: "Call") -> Answer:
        body = dict.fromkeys(("url", "branch", "revision"), "")
        return bodies.as_json(
            200, {**body, "version": self._settings.livy_version, "date": STARTED, "user": ""}
        )

    def _list(self, call: "Call") -> Answer:
        first, size = call.number("from", 0), call.number("size", 100)
        every = self._table.all()
        shown = [view(session) for session in every[max(first, 0) : max(first, 0) + size]]
        return bodies.as_json(200, {"from": first, "total": len(every), "sessions": shown})

    def _create(self, call: "Call") -> Answer:
        session = self._table.create(call.raw)
        return bodies.as_json(
            201, view(session), location=f"{self._settings.base_path}/sessions/{session.id}"
        )

    def _create_batch(self, call: "Call") -> Answer:
        return bodies.rejected("requirement failed: File is required.")

    def _list_batches(self, call: "Call") -> Answer:
        return bodies.as_json(200, {"from": call.number("from", 0), "total": 0, "sessions": []})

    def _no_batch(self, call: "Call", key: str) -> Answer:
        return bodies.no_session(key)

    # One session. Every call below it is a heartbeat; the list is not.
    def _find(self, key: str) -> Session:
        session = self._table.find(key)
        if session is None:
            raise RefusedError(bodies.no_session(key))
        session.heartbeat = time.monotonic()
        return session

    def _get(self, call: "Call", key: str) -> Answer:
        return bodies.as_json(200, view(self._find(key)))

    def _state(self, call: "Call", key: str) -> Answer:
        session = self._find(key)
        return bodies.as_json(200, {"id": session.id, "state": session.state})

    def _log(self, call: "Call", key: str) -> Answer:
        session = self._find(key)
        lines = session.log_lines()
        size, first = call.number("size", 100), call.number("from", -1)
        size = len(lines) if size < 0 else size
        first = max(0, len(lines) - size) if first < 0 else first
        shown = lines[first : first + size]
        return bodies.as_json(200, {"id": session.id, "from": first, "total": len(lines), "log": shown})

    def _delete(self, call: "Call", key: str) -> Answer:
        session = self._find(key)
        self._table.delete(session, "request")
        return bodies.message(200, "deleted")

    def _connect(self, call: "Call", key: str) -> Answer:
        session = self._find(key)
        session.activity = time.monotonic()
        return bodies.as_json(200, view(session))

    def _stop(self, call: "Call", key: str) -> Answer:
        self._find(key).stop()
        return Answer(204, b"", "")

    def _interrupt(self, call: "Call", key: str) -> Answer:
        self._find(key).stop()
        return bodies.message(200, "interrupted")

    def _completion(self, call: "Call", key: str) -> Answer:
        session = self._find(key)
        ensure_runs(session)
        session.activity = time.monotonic()
        return bodies.as_json(200, {"candidates": []})

    # Statements.
    def _run(self, call: "Call", key: str) -> Answer:
        wanted = read(call.raw, bodies.STATEMENT_REQUEST, STATEMENT_FIELDS)
        session = self._find(key)
        ensure_runs(session)
        code, kind = wanted.get("code"), wanted.get("kind")
        if len(call.raw) > session.rpc_max:
            session.rpc = "closed"
            raise RefusedError(bodies.rpc_too_large(len(call.raw), session.rpc_max))
        if code is None:
            text = 'java.lang.NullPointerException: Cannot invoke "String.toCharArray()" because "s" is null'
            raise RefusedError(
                bodies.rpc_failed(text, "org.apache.livy.EOLUtils$Mode$.determineEOL(EOLUtils.scala:59)")
            )
        if kind is not None and str(kind).lower() not in KINDS:
            text = f"java.lang.IllegalArgumentException: Invalid kind: {kind}"
            raise RefusedError(bodies.rpc_failed(text, "org.apache.livy.sessions.Kind$.apply(Kind.scala:46)"))
        chosen = KINDS[str(kind).lower()] if kind is not None else session.kind
        if chosen == "shared":
            text = "Code type should be specified if session kind is shared"
            raise RefusedError(
                bodies.rpc_failed(
                    f"java.lang.IllegalArgumentException: {text}",
                    "org.apache.livy.repl.Session.execute(Session.scala:157)",
                )
            )
        session.activity = time.monotonic()
        statement = session.add(str(code), chosen)
        place = f"{self._settings.base_path}/sessions/{session.id}/statements/{statement.id}"
        return bodies.as_json(201, snapshot(session, statement), location=place)

    def _statements(self, call: "Call", key: str) -> Answer:
        session = self._find(key)
        ensure_active(session)
        with session.lock:
            found = [statement.body() for statement in session.statements.values()]
        if call.query.get("order", "").strip().lower() == "desc":
            found.reverse()
        first, size = max(0, call.number("from", 0)), call.number("size", len(found))
        whole = bodies.dumps(found)
        self._through_rpc(session, len(whole))
        shown = found[first : first + size]
        return bodies.as_json(200, {"total_statements": len(found), "statements": shown})

    def _statement(self, call: "Call", key: str, number: str) -> Answer:
        session = self._find(key)
        wanted = whole_number(number)
        if session.tell_loss():
            return bodies.lost_with_driver()
        ensure_active(session)
        statement = session.statements.get(wanted)
        if statement is None:
            return bodies.bare(404, "Statement not found")
        answer = bodies.as_json(200, snapshot(session, statement))
        self._through_rpc(session, len(answer.body))
        return answer

    def _cancel(self, call: "Call", key: str, number: str) -> Answer:
        session = self._find(key)
        wanted = whole_number(number)
        ensure_runs(session)
        session.activity = time.monotonic()
        session.cancel(wanted)
        return bodies.message(200, "canceled")

    def _through_rpc(self, session: Session, size: int) -> None:
        """A message above the limit is never answered, and closes the channel between server and driver."""
        if size <= session.rpc_max:
            return
        session.rpc = "cancelled"
        self._table.events.add("rpc_stalled", session=session.id, name=session.name)
        time.sleep(self._settings.rpc_stall_seconds)
        raise RefusedError(Answer(0))


class Call:
    """What a request brings besides its path."""

    def __init__(self, query: dict[str, str], raw: bytes) -> None:
        self.query, self.raw = query, raw

    def number(self, name: str, default: int) -> int:
        return whole_number(self.query[name]) if name in self.query else default


def whole_number(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise ValueError(f'For input string: "{text}"')
    return int(text)


def check_rpc(session: Session) -> None:
    if session.rpc == "cancelled":
        session.rpc = "closed"
        raise RefusedError(bodies.lost_with_driver())
    if session.rpc == "closed":
        raise RefusedError(bodies.rpc_closed())


def ensure_runs(session: Session) -> None:
    if session.state not in RUNS:
        raise RefusedError(bodies.wrong_state(session.state))
    check_rpc(session)


def ensure_active(session: Session) -> None:
    if session.state in ("dead", "shutting_down"):
        raise RefusedError(bodies.not_active())
    check_rpc(session)


def snapshot(session: Session, statement: Statement) -> dict[str, Any]:
    with session.lock:
        return statement.body()


def view(session: Session) -> dict[str, Any]:
    wanted = session.wanted
    logs: Optional[list[str]] = session.log_lines()[-10:]
    return {
        "id": session.id,
        "name": session.name,
        "appId": None,
        "owner": None,
        "proxyUser": wanted["proxyUser"],
        "state": session.state,
        "kind": session.kind,
        "appInfo": {"driverLogUrl": None, "sparkUiUrl": None, "executorLogUrls": None},
        "log": logs,
        "ttl": wanted["ttl"],
        "idleTimeout": wanted["idleTimeout"],
        "driverMemory": wanted["driverMemory"],
        "driverCores": wanted["driverCores"],
        "executorMemory": wanted["executorMemory"],
        "executorCores": wanted["executorCores"],
        "conf": wanted["conf"],
        "archives": wanted["archives"],
        "files": wanted["files"],
        "heartbeatTimeoutInSecond": wanted["heartbeatTimeoutInSecond"],
        "jars": wanted["jars"],
        "numExecutors": wanted["numExecutors"],
        "pyFiles": wanted["pyFiles"],
        "queue": wanted["queue"],
    }
