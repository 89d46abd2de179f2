"""The sessions of a server: ids, names, creation, removal, and the clocks that end them by themselves."""

import itertools
import shutil
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Optional

from . import bodies, processes
from .bodies import RefusedError
from .create_request import check_create, read_create, seconds, too_little_memory
from .events import Events
from .interpreter import Interpreter
from .process import ProcessInterpreter
from .scripted import Script, ScriptedInterpreter
from .session import Session
from .settings import Settings


class Table:
    def __init__(self, settings: Settings, events: Events) -> None:
        self.settings, self.events = settings, events
        self.script = Script()
        self.mark = uuid.uuid4().hex
        self._folder: Optional[Path] = None
        self._create_lock = threading.Lock()
        self._lock = threading.Lock()
        self._next = settings.first_id
        self._numbers = itertools.count()
        self._sessions: dict[int, Session] = {}
        self._ever: list[Session] = []
        self._closing = threading.Event()
        for work, every in (
            (self._watch_heartbeats, settings.watchdog_seconds),
            (self._watch_timeouts, settings.gc_seconds),
        ):
            threading.Thread(target=self._each, args=(work, every), daemon=True).start()

    # Look-ups.
    def all(self) -> list[Session]:
        with self._lock:
            return sorted(self._sessions.values(), key=lambda session: session.id)

    def find(self, key: str) -> Optional[Session]:
        """By id where all is digits, else by name."""
        with self._lock:
            if key.isdigit():
                return self._sessions.get(int(key))
            return next((s for s in self._sessions.values() if s.name == key), None)

    def ever(self) -> list[Session]:
        with self._lock:
            return list(self._ever)

    # Creation.
    def create(self, raw: bytes) -> Session:
        """The checks in the order of a real server; what comes after the id has been taken burns it."""
        with self._create_lock:
            live = sum(session.state != "dead" for session in self.all())
            if live >= self.settings.max_creation:
                raise RefusedError(bodies.message(400, "Rejected, too many sessions are being created!"))
            wanted = read_create(raw, self.settings.livy_version)
            with self._lock:
                number, self._next = self._next, self._next + 1
            try:
                check_create(wanted)
                session = Session(number, wanted, self.settings, self.events)
                fails = too_little_memory(wanted)
                self._check_name(session)
            except RefusedError:
                self.events.add("id_burnt", session=number, name=wanted["name"])
                raise
            with self._lock:
                self._sessions[number] = session
                self._ever.append(session)
            self.events.add("created", session=number, name=session.name)
            session.begin(self._interpreter(session), fails)
            return session

    def _check_name(self, session: Session) -> None:
        name = session.name
        if name is None:
            return
        if name == "" or name.isdigit():
            # The driver of such a session has been started and is never ended: a leak of the real server.
            interpreter = self._interpreter(session)
            session.begin(interpreter)
            interpreter.abandon(self.settings.orphan_seconds)
            with self._lock:
                self._ever.append(session)
            raise RefusedError(bodies.rejected(f"Invalid session name: {name}"))
        if self.find(name) is not None:
            raise RefusedError(
                bodies.rejected(f"Duplicate session name: Some({name}) for session {session.id}")
            )

    def _interpreter(self, session: Session) -> Interpreter:
        if self.settings.interpreter == "scripted":
            return ScriptedInterpreter(self.script, session.driver_lost)
        number = next(self._numbers)
        session.mark = f"{self.mark}/{number}"
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="livy-test-"))
            folder = self._folder / str(number)
            folder.mkdir()
        conf = session.wanted["conf"]
        return ProcessInterpreter(self.settings, conf, session.mark, folder, session.log, session.driver_lost)

    # Removal.
    def delete(self, session: Session, why: str) -> None:
        """Returns when the session is gone."""
        self.events.add("deleting", session=session.id, name=session.name, why=why)
        session.stop()
        with self._lock:
            removed = self._sessions.get(session.id) is session
            if removed:
                del self._sessions[session.id]
        if removed:
            self.events.add("gone", session=session.id, name=session.name, why=why)

    def _each(self, work: Any, every: float) -> None:
        while not self._closing.wait(every):
            work()

    def _end(self, session: Session, why: str) -> None:
        if not session.stopping or session.state == "dead":
            threading.Thread(target=self.delete, args=(session, why), daemon=True).start()

    def _watch_heartbeats(self) -> None:
        for session in self.all():
            limit = session.wanted["heartbeatTimeoutInSecond"] * self.settings.heartbeat_scale
            if limit > 0 and time.monotonic() - session.heartbeat > limit:
                self._end(session, "heartbeat")

    def _watch_timeouts(self) -> None:
        now = time.monotonic()
        for session in self.all():
            if session.state == "dead":
                if now - (session.ended_at or now) > self.settings.retain_seconds:
                    self._end(session, "retained long enough")
                continue
            ttl = seconds(session.wanted["ttl"])
            if ttl and self.settings.ttl_check and now - session.created > ttl:
                self._end(session, "ttl")
            elif not (self.settings.skip_busy and session.state == "busy"):
                limit = seconds(session.wanted["idleTimeout"]) or self.settings.session_timeout
                if now - session.activity > limit:
                    self._end(session, "idle")

    # For tests.
    def restart(self, orphans: float) -> None:
        """As after kill -9 of the server: ids begin at 0, names are free, drivers live on for a while."""
        with self._create_lock, self._lock:
            lost, self._sessions = list(self._sessions.values()), {}
            self._next = 0
        self.events.add("restarted", sessions=[session.id for session in lost])
        for session in lost:
            if session.interpreter is not None:
                session.interpreter.abandon(orphans)
            self.events.add("orphaned", session=session.id, name=session.name)

    def processes(self) -> list[dict[str, Any]]:
        """Every session that ever was, with the processes of it that still live."""
        with self._lock:
            sessions, kept = list(self._ever), dict(self._sessions)
        drivers = {s.interpreter.pids()["driver"]: s for s in sessions if s.interpreter}
        drivers.pop(0, None)
        living = processes.living(self.mark, drivers) if drivers else {}
        found: list[dict[str, Any]] = []
        for session in sessions:
            pids = session.interpreter.pids() if session.interpreter else {}
            own = (session.mark, str(pids.get("driver")))
            entry: dict[str, Any] = {"id": session.id, "name": session.name, "state": session.state}
            entry["listed"] = kept.get(session.id) is session
            entry["pids"] = pids
            entry["alive"] = sorted(pid for pid, value in living.items() if value in own)
            found.append(entry)
        return found

    def close(self) -> list[int]:
        """Ends everything at once; answers with the processes that could not be ended."""
        self._closing.set()
        groups = [session.interpreter.pids()["driver"] for session in self.ever() if session.interpreter]
        left = processes.end_all(self.mark, groups)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        return left
