"""A real interpreter: the server's end of one driver stand-in and of the Python process that is its child."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

from . import processes, replies
from .interpreter import DriverLostError, InterpreterDiedError, Output, StartError
from .pipes import Lines
from .settings import Settings

# Of the server's own environment: would point the engine at somebody's catalogue or make its client hang.
SCRUBBED = ("DATABRICKS_", "UNITY_", "UC_", "SPARK_REMOTE", "SPARK_CONNECT_AUTHENTICATE_TOKEN", "LIVY_TEST_")


class ProcessInterpreter:
    def __init__(
        self,
        settings: Settings,
        conf: dict[str, str],
        mark: str,
        folder: Path,
        log: Callable[[str], None],
        lost: Callable[[], None],
    ) -> None:
        self._settings, self._conf, self._mark, self._folder = settings, conf, mark, folder
        self._log, self._lost = log, lost
        self._driver: Optional[subprocess.Popen[bytes]] = None
        self._python = 0
        self._ready = threading.Event()
        self._failed = False
        self._greeted = False
        self._driver_gone = threading.Event()
        self._sql_done = threading.Event()
        self._sql_output: Output = {}
        self._error_lines: list[str] = []
        self._error_lock = threading.Lock()
        self._stdin = -1
        self._stdin_lock = threading.Lock()
        self._begin_lock = threading.Lock()
        self._unwanted = False
        self._replies: Optional[Lines] = None
        self._errors: Optional[Lines] = None

    def start(self) -> None:
        with self._begin_lock:
            if self._unwanted:
                raise StartError
            self._begin()
        for work in (self._read_driver, self._read_driver_log, self._read_errors):
            threading.Thread(target=work, daemon=True).start()
        if not self._ready.wait(self._settings.start_timeout) or self._failed:
            raise StartError
        self._tell_driver(op="python")

    def _begin(self) -> None:
        theirs_in, self._stdin = os.pipe()
        replies_end, theirs_out = os.pipe()
        errors_end, theirs_err = os.pipe()
        theirs = (theirs_in, theirs_out, theirs_err)
        self._replies, self._errors = Lines(replies_end), Lines(errors_end)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(SCRUBBED)}
        environment[processes.MARK] = self._mark
        options = {
            "engine": self._settings.engine,
            "sql_rows": self._settings.sql_rows,
            "sleep_scale": self._settings.sleep_scale,
            "conf": self._conf,
            "descriptors": theirs,
            "folder": str(self._folder),
        }
        try:
            self._driver = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("driver.py")), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=theirs,
                env=environment,
                cwd=self._folder,
                start_new_session=True,
            )
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    # What the driver says.
    def _read_driver(self) -> None:
        assert self._driver is not None and self._driver.stdout is not None and self._driver.stdin is not None
        for line in self._driver.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                break  # killed in the middle of it
            kind = event["event"]
            if kind == "ready":
                self._ready.set()
            elif kind == "failed":
                self._log(f"ERROR RSCDriver: {event['message']}")
                self._failed = True
            elif kind == "python":
                self._python = event["pid"]
            elif kind == "python_ended" and event["code"] != 0:
                self._log(f"ERROR PythonInterpreter: Process has died with {event['code']}")
                self._log("ERROR PythonInterpreter: " + "\n".join(self._error_lines[-20:]).strip())
            elif kind == "sql":
                self._sql_output = event["output"]
                self._sql_done.set()
        self._driver.wait()
        self._failed = self._failed or not self._ready.is_set()
        self._driver_gone.set()
        self._ready.set()
        self._sql_done.set()
        # The interpreter's pipes were the driver's: it reads an end, and it writes into nothing.
        self._close_stdin()
        assert self._replies is not None and self._errors is not None
        self._replies.abandon()
        self._errors.abandon()
        self._lost()
        with contextlib.suppress(OSError):
            self._driver.stdin.close()
        self._driver.stdout.close()

    def _read_driver_log(self) -> None:
        assert self._driver is not None and self._driver.stderr is not None
        for line in self._driver.stderr:
            self._log(line.decode("utf-8", "replace").rstrip("\n"))
        self._driver.stderr.close()

    def _read_errors(self) -> None:
        assert self._errors is not None
        while (line := self._errors.read()) is not None:
            with self._error_lock:
                self._error_lines.append(line)
        self._errors.close()

    def _tell_driver(self, **request: Any) -> None:
        assert self._driver is not None and self._driver.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._driver.stdin.write((json.dumps(request) + "\n").encode())
            self._driver.stdin.flush()

    # The line to the interpreter.
    def _send(self, kind: str, content: Any) -> None:
        data = (json.dumps({"msg_type": kind, "content": content}) + "\n").encode()
        with self._stdin_lock, contextlib.suppress(OSError):
            while data and self._stdin >= 0:
                data = data[os.write(self._stdin, data) :]

    def _close_stdin(self) -> None:
        with self._stdin_lock:
            if self._stdin >= 0:
                os.close(self._stdin)
                self._stdin = -1

    def _exchange(self, code: str) -> Output:
        assert self._replies is not None and self._errors is not None
        while not self._greeted:
            line = self._replies.read()
            self._greeted = line is None or line.startswith("READY(port=")
        self._send("execute_request", {"code": code})
        line = self._replies.read()
        if line is None:
            if self._driver_gone.wait(0.05):
                raise DriverLostError
            self._errors.ended.wait(0.03)
            with self._error_lock:
                text, self._error_lines = "\n".join(self._error_lines), []
            raise InterpreterDiedError(text)
        return replies.read(line, self._settings.max_string)

    def set_group(self, statement: int, kind: str) -> None:
        if kind == "pyspark":
            with contextlib.suppress(InterpreterDiedError):
                self._exchange(f'sc.setJobGroup("{statement}", "Job group for statement {statement}")')

    def run(self, code: str, kind: str, statement: int, _progress: Callable[[float], None]) -> Output:
        if kind == "pyspark":
            return self._exchange(code)
        if kind == "sql":
            self._sql_done.clear()
            self._tell_driver(op="sql", code=code, group=str(statement))
            self._sql_done.wait()
            if self._driver_gone.is_set():
                raise DriverLostError
            return self._sql_output
        return replies.error("InterpreterError", "Fail to start interpreter")

    def cancel(self, statement: int) -> None:
        self._tell_driver(op="cancel", group=str(statement))

    def stop(self, busy: bool, timeout: float) -> None:
        with self._begin_lock:
            self._unwanted = True
            if self._driver is None:
                return
        if not self._ready.is_set() or self._failed:
            self.kill("driver")
        self._tell_driver(op="stop", busy=busy)
        self._send("shutdown_request", {})
        self._close_stdin()
        if not self._driver_gone.wait(timeout):
            self.kill("driver")
            self._driver_gone.wait()

    def close(self) -> None:
        if self._replies is not None:
            self._replies.close()

    def abandon(self, after: float) -> None:
        timer = threading.Timer(after, self.kill, args=("driver",))
        timer.daemon = True
        timer.start()

    def kill(self, what: str) -> None:
        pid = self.pids()[what]
        if processes.alive(pid):
            os.kill(pid, signal.SIGKILL)

    def pids(self) -> dict[str, int]:
        return {"driver": self._driver.pid if self._driver else 0, "python": self._python}
