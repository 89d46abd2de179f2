"""The carrier for sessions behind a REPL, where a statement's printed text is its answer.

Here: what the first statement starts (install), what each later one calls (Repl), the frame of an answer and
its size, the end of this process when its driver is gone, the REPL's own pipes moved out of user code's way.
Not here: what a cell is (cell.py), SQL (sql.py), what the first statement's text is (bootstrap.py); how the
texts are loaded stands in cell.py.

One byte that user code writes to the REPL's protocol shifts every later answer, so three things stand
between: the pipes are moved to private descriptors for good, descriptors 0 to 2 are redirected while a cell
runs, and each answer carries its statement's nonce.
"""

import base64
import contextlib
import fcntl
import gc
import io
import json
import os
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Optional

from sparklease_catalog import details, names
from sparklease_cell import Session
from sparklease_sql import run as run_sql
from sparklease_streams import Capture
from sparklease_values import encode
from sparklease_write import forget, look, prepare, stage, write

# The longest answer, in characters. Livy refuses strings above 20 million in a reply, and above 50 MiB its
# channel to the driver breaks.
FRAME_LIMIT = 16_000_000
# Above this an answer is compressed: below, it is not worth its time.
PLAIN_LIMIT = 200_000
# How soon an orphan is gone; a process that looks twice a second costs nothing.
LOOK_EVERY = 0.5
# So many new modules are worth a collection: what imports made lives for ever, and the collection before
# each fresh cell need not look at it again (0.1 s with pandas).
MANY_MODULES = 20
NAMES = ("spark", "sc", "sqlContext")
# What is asked of us and not of user code: each gives an answer of its own and shows nothing.
OWN: dict[str, Callable[[Any, Mapping[str, Any]], dict[str, Any]]] = {
    "names": names,
    "details": details,
    "look": look,
    "stage": stage,
    "prepare": prepare,
    "write": write,
    "forget": forget,
}
NO_OUTPUT = {"max_rows": 0, "max_bytes": 0, "max_figures": 0}
NO_DETAILS: dict[str, Any] = dict.fromkeys(("error_class", "sqlstate", "line", "column"))
EMPTY: dict[str, Any] = {
    "text": None,
    "tables": [],
    "figures": [],
    "warnings": [],
    "stdout": "",
    "stderr": "",
}

# Bound before user code can replace them.
_os_getppid, _os_getpid, _os_exit, _os_kill = os.getppid, os.getpid, os._exit, os.kill
_os_close, _listdir, _open, _sleep = os.close, os.listdir, open, time.sleep
_decode, _b64decode, _b64encode, _compress = json.loads, base64.b64decode, base64.b64encode, zlib.compress


def install(names: dict[str, Any], text: str) -> "Repl":
    """Answers the first statement and gives what later ones call. `names` are the REPL's own globals."""
    request = _decode(_b64decode(text))
    die_with(_os_getppid())
    if request.get("move_protocol"):
        move_protocol()
    repl = Repl(names)
    repl(text)
    return repl


# ---- the process -------------------------------------------------------------------------------------------


def die_with(parent: int) -> None:
    """Ends this process and what it started when `parent` is gone.

    Without it a deleted session that is busy in Python leaves its process running until the code ends by
    itself. It cannot act while native code holds the interpreter's lock.
    """

    def watch() -> None:
        while _os_getppid() == parent:
            _sleep(LOOK_EVERY)
        for child in _descendants(_os_getpid()):
            with contextlib.suppress(OSError):
                _os_kill(child, signal.SIGKILL)
        _os_exit(3)

    threading.Thread(target=watch, name="sparklease-dead-man", daemon=True).start()


def _descendants(root: int) -> list[int]:
    """Every process below `root`, where the system has /proc."""
    parents: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for entry in _listdir("/proc"):
            if not entry.isdigit():
                continue
            with (
                contextlib.suppress(OSError, ValueError, IndexError),
                _open(f"/proc/{entry}/stat", "rb") as file,
            ):
                # The command's name stands in parentheses and may hold anything.
                parents[int(entry)] = int(file.read().rpartition(b")")[2].split()[1])
    found, front = [], {root}
    while front:
        front = {child for child, parent in parents.items() if parent in front} - set(found)
        found += front
    return found


def move_protocol() -> None:
    """Moves the REPL's pipes from descriptors 0 and 1 to private ones, so that nothing else writes to them.

    The file objects stay the same ones: only what they are over changes. A REPL that is built otherwise is
    left as it is, and the nonce alone protects its answers.
    """
    buffers = [getattr(stream, "buffer", None) for stream in (sys.__stdin__, sys.__stdout__)]
    # With PYTHONUNBUFFERED the outer one is the raw one.
    raws = [getattr(buffer, "raw", buffer) for buffer in buffers]
    if not all(isinstance(raw, io.FileIO) and raw.fileno() == at for at, raw in enumerate(raws)):
        return
    sys.__stdout__.flush()  # type: ignore[union-attr]
    for descriptor, (raw, mode) in enumerate(zip(raws, "rw")):
        private = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _room())
        raw.__init__(private, mode, closefd=False)  # type: ignore[misc, union-attr]
        # A forked child's copy would keep the pipe open after our end.
        os.register_at_fork(after_in_child=lambda private=private: _os_close(private))
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, descriptor)
        os.close(nothing)


def _room() -> int:
    """A high number keeps a descriptor out of the way of code that closes "all" of them."""
    import resource

    return 900 if resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 1000 else 200


# ---- statements --------------------------------------------------------------------------------------------


class Repl:
    """What each statement calls with its request; prints one framed answer and never raises for user code."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self._session = Session()
        self._modules = 0

    def __call__(self, text: str) -> None:
        request = _decode(_b64decode(text))
        nonce, op = request["nonce"], request["op"]
        answer: dict[str, Any] = {}
        if op == "run":
            envelope = self._session.run(request, self._provide, Capture())
        elif op == "sql":
            work = lambda outputs: run_sql(self._spark(), request["sql"], request.get("params"), outputs)  # noqa: E731
            envelope = self._session.run(request, self._provide, Capture(), work)
        elif op in OWN:
            work = lambda _: answer.update(OWN[op](self._spark(), request))  # noqa: E731
            envelope = self._session.run({**NO_OUTPUT, **request}, self._provide, Capture(), work)
            envelope["answer"] = answer
        else:
            envelope = {"nonce": nonce, "status": "ok", **EMPTY, "warnings": []}
        if op == "install":
            envelope["about"] = self._about()
        if self._stopped():
            envelope["lost"] = "its Spark session was stopped by the code that ran in it"
        if len(sys.modules) >= self._modules + MANY_MODULES:
            gc.collect()
            gc.freeze()
            self._modules = len(sys.modules)
        # A line of its own, whatever a thread that was left behind has printed before it.
        sys.stdout.write("\n" + line(nonce, envelope))

    def _provide(self) -> Mapping[str, Any]:
        return {name: self._names[name] for name in NAMES if name in self._names}

    def _spark(self) -> Any:
        if "spark" not in self._names:
            raise RuntimeError("this session has no Spark session; its kind must be pyspark")
        return self._names["spark"]

    def _about(self) -> dict[str, Any]:
        spark: Optional[str] = None
        with contextlib.suppress(Exception):
            spark = str(self._names["spark"].version)
        return {"python": sys.version.split()[0], "spark": spark}

    def _stopped(self) -> bool:
        spark = self._names.get("spark")
        if getattr(spark, "is_stopped", False) is True:
            return True
        context = getattr(spark, "_sc", None)
        if not hasattr(context, "_jsc"):
            return False
        try:
            return context._jsc is None or bool(context._jsc.sc().isStopped())
        except Exception:
            # The driver does not answer its own Python.
            return True


def line(nonce: str, envelope: dict[str, Any]) -> str:
    """The frame of an answer, cut to what the way back carries: rows go first, then figures."""
    for _ in range(16):
        try:
            text = _frame(nonce, envelope)
        except (MemoryError, ValueError, TypeError) as error:
            envelope = _failed(envelope, f"the answer could not be written: {type(error).__name__}: {error}")
            continue
        if len(text) <= FRAME_LIMIT:
            return text
        if not _cut(envelope, FRAME_LIMIT / len(text)):
            break
    return _frame(nonce, _failed(envelope, "the answer is larger than the way back carries"))


def _frame(nonce: str, envelope: Mapping[str, Any]) -> str:
    body = encode(envelope)
    if len(body) > PLAIN_LIMIT:
        body = "z:" + _b64encode(_compress(body.encode("ascii"), 1)).decode("ascii")
    return f"<<sparklease:{nonce}>>{body}<<sparklease:{nonce}/>>\n"


def _cut(envelope: dict[str, Any], share: float) -> bool:
    tables = [table for table in envelope["tables"] if table["rows"]]
    if tables:
        for table in tables:
            table["rows"] = table["rows"][: int(len(table["rows"]) * share * 0.9)]
            table["truncated"] = True
        return True
    if envelope["figures"]:
        envelope["figures"] = []
        envelope["warnings"] = [*envelope["warnings"], "figures were left out: the answer is too large"]
        return True
    return False


def _failed(envelope: Mapping[str, Any], message: str) -> dict[str, Any]:
    error = {"class": "ValueError", "message": message, **NO_DETAILS, "traceback": ""}
    return {**envelope, **EMPTY, "status": "error", "error": error}
