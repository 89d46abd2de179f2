"""The driver stand-in of one session: a process that holds Spark and is the parent of the interpreter.

A program: started by sessions of the server (process.py) in a process group of its own. JSON lines on
descriptors 0 and 1 connect it with the server; the interpreter's three descriptors are handed through it, so
that killing it leaves the interpreter alive with another parent, as on a real server.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from spark_side import SparkSide


class Driver:
    def __init__(self) -> None:
        self._options: dict[str, Any] = json.loads(sys.argv[1])
        # Off the low descriptors: Python UDFs run inside Sail, and what they print is the driver's log.
        self._requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
        self._events = os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._python_ended = threading.Event()
        self._python_ended.set()
        self._busy = False

    def tell(self, **event: Any) -> None:
        with self._lock:
            os.write(self._events, (json.dumps(event) + "\n").encode())

    def run(self) -> None:
        try:
            self._spark = SparkSide(self._options["engine"], self._options["sql_rows"])
        except Exception as error:
            self.tell(event="failed", message=f"{type(error).__name__}: {error}")
            return
        self.tell(event="ready", url=self._spark.url)
        for line in self._requests:
            request = json.loads(line)
            getattr(self, f"on_{request.pop('op')}")(**request)
        # The server is gone: nobody can want this session any more. The last one removes the folder of all.
        folder = Path(self._options["folder"])
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()
        os.killpg(0, 9)

    def on_python(self) -> None:
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "YES",
            "LIVY_TEST_SPARK": self._spark.url,
            "LIVY_TEST_DRIVER": str(os.getpid()),
        }
        environment["LIVY_TEST_CONF"] = json.dumps(self._options["conf"])
        environment["LIVY_TEST_SLEEP_SCALE"] = str(self._options["sleep_scale"])
        descriptors: list[int] = self._options["descriptors"]
        shell = Path(__file__).with_name("shell.py")
        child = subprocess.Popen(
            [sys.executable, str(shell)],
            stdin=descriptors[0],
            stdout=descriptors[1],
            stderr=descriptors[2],
            env=environment,
            cwd=self._options["folder"],
        )
        for descriptor in descriptors:
            os.close(descriptor)
        self._python_ended.clear()
        self.tell(event="python", pid=child.pid)
        threading.Thread(target=self._watch, args=(child,), daemon=True).start()

    def _watch(self, child: "subprocess.Popen[bytes]") -> None:
        code = child.wait()
        self._python_ended.set()
        # As a shell counts: 128 + the signal.
        self.tell(event="python_ended", code=code if code >= 0 else 128 - code)

    def on_cancel(self, group: str) -> None:
        threading.Thread(target=self._spark.cancel, args=(group,), daemon=True).start()

    def on_sql(self, code: str, group: str) -> None:
        def answer() -> None:
            self._busy = True
            output = self._spark.sql(code, group)
            self._busy = False
            self.tell(event="sql", output=output)

        threading.Thread(target=answer, daemon=True).start()

    def on_stop(self, busy: bool) -> None:
        threading.Thread(target=self._leave, args=(busy,), daemon=True).start()

    def _leave(self, busy: bool) -> None:
        if busy:
            # Spark's jobs fail when Spark stops; what then still runs is Python, and it is waited for.
            try:
                self._spark.stop_jobs()
            except Exception as error:
                print("cannot stop the jobs:", error, file=sys.stderr)
        self._python_ended.wait()
        self._spark.close()
        os._exit(0)


if __name__ == "__main__":
    Driver().run()
    os._exit(1)
