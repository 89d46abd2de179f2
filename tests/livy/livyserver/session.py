"""One session: its states, its queue of statements, its log and its end."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Optional

from .create_request import size_in_bytes
from .events import Events
from .interpreter import DriverLostError, Interpreter, InterpreterDiedError, StartError
from .settings import Settings

ACTIVE = ("not_started", "starting", "idle", "busy", "error", "shutting_down")
# After `error` a statement is taken, and fails.
RUNS = ("idle", "busy", "error")


def now_ms() -> int:
    return int(time.time() * 1000)


@dataclass
class Statement:
    id: int
    code: str
    kind: str
    state: str = "waiting"
    output: Optional[dict[str, Any]] = None
    progress: float = 0.0
    started: int = 0
    completed: int = 0

    def body(self) -> dict[str, Any]:
        names = ("id", "code", "state", "output", "progress", "started", "completed")
        return {name: getattr(self, name) for name in names}


class Session:
    def __init__(self, number: int, wanted: dict[str, Any], settings: Settings, events: Events) -> None:
        self.id, self.wanted, self.name, self.kind = number, wanted, wanted["name"], wanted["kind"]
        self._settings, self._events = settings, events
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.state = "starting"
        self.created = self.activity = self.heartbeat = time.monotonic()
        self.ended_at: Optional[float] = None
        self.rpc: Optional[str] = None  # None: fine; "cancelled": says so once; "closed": for ever
        given = wanted["conf"].get("livy.rsc.rpc.max.size")
        self.rpc_max = size_in_bytes(given) if given else settings.rpc_max_bytes
        self._lost_untold = False
        self._lost = False
        self._stop_asked = False
        self._gone = threading.Event()
        self._next = 0
        self._queue: deque[Statement] = deque()
        self.statements: dict[int, Statement] = {}
        self._stdout_log: list[str] = []
        self._stderr_log: list[str] = []
        self.interpreter: Optional[Interpreter] = None
        self.mark = ""

    # The log.
    def log(self, text: str) -> None:
        stamp = time.strftime("%y/%m/%d %H:%M:%S")
        with self.lock:
            for line in text.split("\n"):
                known = line[:5] in ("INFO ", "WARN ", "ERROR")
                self._stderr_log.append(f"{stamp} {line}" if known else line)
            del self._stderr_log[: -self._settings.log_lines]

    def print(self, line: str) -> None:
        with self.lock:
            self._stdout_log.append(line)

    def log_lines(self) -> list[str]:
        with self.lock:
            return ["stdout: ", *self._stdout_log, "\nstderr: ", *self._stderr_log]

    # Beginning.
    def begin(self, interpreter: Interpreter, fails: bool = False) -> None:
        self.interpreter = interpreter
        threading.Thread(target=self._work, args=(interpreter, fails), daemon=True).start()

    def _work(self, interpreter: Interpreter, fails: bool) -> None:
        try:
            if self._start(interpreter, fails):
                self._serve(interpreter)
        finally:
            interpreter.close()

    def _start(self, interpreter: Interpreter, fails: bool) -> bool:
        begun = time.monotonic()
        try:
            if fails:
                self._gone.wait(max(0.1, self._settings.start_seconds))
                self.print("Error occurred during initialization of VM")
                self.print("Too small maximum heap")
                raise StartError
            interpreter.start()
            self._gone.wait(max(0.0, begun + self._settings.start_seconds - time.monotonic()))
        except (StartError, OSError) as problem:
            if isinstance(problem, OSError):
                self.log(f"ERROR RSCClient: {problem}")
            self._set_state("dead")
            return False
        for number in range(8):
            self.log(f"INFO BlockManagerMaster: Registered BlockManager {number}")
        self.log("INFO SparkEntries: Spark context finished initialization in 914ms")
        self.log("INFO SparkEntries: Created Spark session.")
        self._set_state("idle", only_from="starting")
        return True

    def _serve(self, interpreter: Interpreter) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self._queue or self._lost or self._stop_asked)
                if self._lost or self._stop_asked:
                    return
                statement = self._queue.popleft()
            try:
                self._run(interpreter, statement)
            except DriverLostError:
                self.driver_lost()
                return

    def _set_state(self, state: str, only_from: str = "") -> None:
        with self.changed:
            if only_from and self.state != only_from:
                return
            if self.state == state or (self.state == "dead") or (self._stop_asked and state != "dead"):
                return
            self.state = state
            self.activity = time.monotonic()
            if state == "dead":
                self.ended_at = self.activity
            self.changed.notify_all()
        self._events.add("state", session=self.id, name=self.name, state=state)

    # Statements.
    def add(self, code: str, kind: str) -> Statement:
        with self.changed:
            statement = Statement(self._next, code, kind)
            self._next += 1
            self.statements[statement.id] = statement
            while len(self.statements) > self._settings.retained_statements:
                del self.statements[next(iter(self.statements))]
            self._queue.append(statement)
            self.changed.notify_all()
            # The answer to the POST may already show the end of a quick one.
            self.changed.wait_for(lambda: statement.state not in ("waiting", "running"), timeout=0.002)
            return statement

    def _run(self, interpreter: Interpreter, statement: Statement) -> None:
        self._set_state("busy")
        interpreter.set_group(statement.id, statement.kind)
        self._idle_after(statement)
        with self.changed:
            runs = statement.state == "waiting"
            if runs:
                statement.state, statement.started = "running", now_ms()
                self.changed.notify_all()
        if runs:
            self._set_state("busy")
            self._events.add("statement_started", session=self.id, name=self.name, statement=statement.id)
            statement.output = self._output(interpreter, statement)
        with self.changed:
            if runs:
                self._events.add("statement_ended", session=self.id, name=self.name, statement=statement.id)
            statement.state = {"running": "available", "cancelling": "cancelled"}.get(
                statement.state, statement.state
            )
            statement.progress, statement.completed = 1.0, now_ms()
            self.changed.notify_all()

    def _output(self, interpreter: Interpreter, statement: Statement) -> dict[str, Any]:
        def progress(value: float) -> None:
            statement.progress = value

        try:
            found = interpreter.run(statement.code, statement.kind, statement.id, progress)
        except InterpreterDiedError as died:
            self._set_state("error")
            text = f"Interpreter died:\n{died}"
            found = {"status": "error", "ename": "Error", "evalue": text, "traceback": []}
        else:
            self._idle_after(statement)
        return {"status": found.pop("status"), "execution_count": statement.id, **found}

    def _idle_after(self, statement: Statement) -> None:
        if statement.id == self._next - 1 and self.state != "error":
            self._set_state("idle")

    def cancel(self, number: int) -> None:
        with self.changed:
            statement = self.statements.get(number)
            if statement is None or statement.state not in ("waiting", "running"):
                return
            if statement.state == "waiting":
                statement.state, statement.progress, statement.completed = "cancelled", 1.0, now_ms()
                return
            statement.state = "cancelling"
        self._events.add("statement_cancelling", session=self.id, name=self.name, statement=number)
        threading.Thread(target=self._cancel, args=(statement,), daemon=True).start()

    def _cancel(self, statement: Statement) -> None:
        assert self.interpreter is not None
        until = time.monotonic() + self._settings.job_cancel_timeout
        while True:
            self.interpreter.cancel(statement.id)
            with self.changed:
                if self.changed.wait_for(lambda: statement.state != "cancelling" or self._lost, timeout=0.1):
                    return
                if time.monotonic() > until:
                    # The code runs on, and its output is filled in later.
                    statement.state, statement.progress, statement.completed = "cancelled", 1.0, now_ms()
                    return

    # The end.
    def driver_lost(self) -> None:
        """From any thread, any number of times."""
        with self.changed:
            if self._lost:
                return
            self._lost = True
            self._lost_untold = any(s.state in ("running", "cancelling") for s in self.statements.values())
            self.changed.notify_all()
            wanted = self._stop_asked
        if wanted:
            return
        self._events.add("driver_lost", session=self.id, name=self.name)
        self._gone.wait(self._settings.dead_lag)
        self.log("ERROR RSCClient: RPC error.")
        self._set_state("dead")

    def tell_loss(self) -> bool:
        """True once, to the first who asks for a statement after the driver died under it."""
        with self.changed:
            if not self._lost_untold:
                return False
            self._lost_untold = False
            self.changed.wait_for(lambda: self.state == "dead" or self._stop_asked, timeout=2)
            return True

    def stop(self) -> None:
        """Ends the session; whoever comes later waits for the same end."""
        with self.changed:
            first = not self._stop_asked
            was = self.state
            if first:
                self._set_state("shutting_down")
                self._stop_asked = True
                self.changed.notify_all()
        if not first:
            self._gone.wait()
            return
        begun = time.monotonic()
        if self.interpreter is not None and was != "dead":
            if self.rpc is not None:
                self.interpreter.abandon(self._settings.orphan_seconds)
            else:
                self.interpreter.stop(was == "busy", self._settings.shutdown_timeout)
                if was == "idle":
                    time.sleep(max(0.0, begun + self._settings.stop_seconds - time.monotonic()))
        self._set_state("dead")
        self._gone.set()

    @property
    def stopping(self) -> bool:
        return self._stop_asked
