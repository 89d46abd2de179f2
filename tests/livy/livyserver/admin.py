"""The routes that a real Livy has not, all under /__test: what happened, what lives, what shall go wrong."""

import json
import re
from typing import Any

from . import bodies
from .bodies import Answer
from .events import Events
from .faults import Faults
from .session import Session
from .table import Table

PREFIX = "/__test"


class Admin:
    def __init__(self, table: Table, faults: Faults, events: Events) -> None:
        self._table, self._faults, self._events = table, faults, events
        self.secret = ""

    def answer(self, method: str, path: str, query: dict[str, str], raw: bytes) -> Answer:
        try:
            given = json.loads(raw) if raw.strip() else {}
            return bodies.as_json(200, self._do(method, path[len(PREFIX) :], query, given))
        except KeyError as problem:
            return bodies.message(404, f"no such thing: {problem}")
        except (ValueError, TypeError, re.error) as problem:
            return bodies.message(400, str(problem))

    def _do(self, method: str, path: str, query: dict[str, str], given: Any) -> Any:
        what = f"{method} {path}"
        if what == "GET /events":
            return self._events.since(int(query.get("since", 0)), float(query.get("wait", 0)))
        if what == "GET /sessions":
            return self._table.processes()
        if what == "GET /settings":
            return vars(self._table.settings)
        if what == "GET /faults":
            return self._faults.all()
        if what == "POST /faults":
            return {"ids": self._faults.add(given)}
        if what == "DELETE /faults":
            self._faults.clear()
            return {}
        if what == "POST /script":
            self._table.script.set(given)
            return {}
        if what == "POST /restart":
            self._table.restart(float(given.get("orphan_seconds", 0)))
            return {}
        if what == "POST /secret":
            self.secret = given["secret"]
            return {}
        if what == "POST /settings":
            return self._change(given)
        found = re.fullmatch(r"/sessions/([^/]+)/(kill|state|log|progress)", path)
        if found and method == "POST":
            return self._session(found[1], found[2], given)
        raise KeyError(what)

    def _change(self, given: dict[str, Any]) -> Any:
        settings = self._table.settings
        for name, value in given.items():
            setattr(settings, name, type(getattr(settings, name))(value))
        return vars(settings)

    def _session(self, key: str, what: str, given: Any) -> Any:
        session = self._table.find(key)
        if session is None or session.interpreter is None:
            raise KeyError(key)
        if what == "kill":
            session.interpreter.kill(given["what"])
        elif what == "state":
            with session.changed:
                session.state = given["state"]
        elif what == "log":
            session.log(given["line"])
        else:
            set_progress(session, float(given["progress"]))
        return {}


def set_progress(session: Session, value: float) -> None:
    with session.lock:
        for statement in session.statements.values():
            if statement.state == "running":
                statement.progress = value
