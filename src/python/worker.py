"""The local worker: one Python process that hosts one Sail server and runs the user's Python beside it.

Here: dying with the parent, the memory cap, the start order, the control channel, SIGINT. Not here: running
a cell (cell.py), typed tables (values.py), what Sail answers differently from Spark (engine_shims.py,
engine_tables.py).

Started as `python -u -I worker.py --tag TAG --parent PID --memory-bytes N`; descriptor 0 is the control
channel (JSON lines, both directions), 1 and 2 are pipes that the parent drains: text output, never
protocol. PySpark is imported when the parent says so: it makes the Spark session first, which takes twice
as long beside the import.
"""

import argparse
import ctypes
import fcntl
import gc
import importlib.util
import itertools
import json
import os
import queue
import re
import resource
import signal
import socket
import sys
import threading
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Optional

# Exit codes that the parent may meet, besides 0 and signals.
ORPHANED, START_FAILED, CHANNEL_LOST = 3, 4, 5
PR_SET_PDEATHSIG = 1
# Bound before user code can replace them.
encode, decode = json.JSONEncoder().encode, json.JSONDecoder().decode
_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_os_write, _os_set_blocking, _os_exit = os.write, os.set_blocking, os._exit
# What nearly every cell needs; matplotlib (0.4 s) waits for the first cell that imports it.
PRELOADED = (
    "pandas",
    "pyarrow",
    "pyspark.cloudpickle",
    "pyspark.sql.connect.session",
    "pyspark.sql.functions",
)
# The answer to an ask that outlived its cell: a thread's.
ENDED = {"error": {"code": "cancelled", "message": "the cell has ended", "hint": ""}}
EMPTY: dict[str, Any] = {"text": None, "tables": [], "figures": [], "warnings": []}


def die_with(parent: int) -> None:
    """Ends this process when the thread that spawned it ends; at once if that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # After the request, not before: a parent that died in between would never be noticed.
    if os.getppid() != parent:
        _os_exit(ORPHANED)


def cap_memory(allowance: int) -> None:
    """Limits what this process may allocate from now on, engine included; 0 means no limit.

    RLIMIT_DATA, counted from what is mapped already: Sail's allocator reserves 1 GiB at import that it
    never touches as a whole, and thread stacks and arenas make RLIMIT_AS another 1 GiB larger than what is
    used. Beyond the limit Python raises MemoryError and lives on; Rust code of the engine would abort the
    process, so the engine's own pool (SAIL_RUNTIME__MEMORY_POOL__*) has to be smaller than this.
    """
    if allowance <= 0 or sys.platform != "linux":
        return
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    mapped = re.search(r"^VmData:\s+(\d+) kB$", status, re.M)
    limit = (int(mapped[1]) * 1024 if mapped else 0) + allowance
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def load(name: str) -> types.ModuleType:
    """A sibling file as the module `sparklease_<name>`: with -I this folder is not on sys.path."""
    spec = importlib.util.spec_from_file_location(
        f"sparklease_{name}", Path(__file__).with_name(f"{name}.py")
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Channel:
    """The control channel. Requests are read by a thread, so that its end is noticed while a cell runs."""

    def __init__(self) -> None:
        # A high number keeps it out of the way of user code that closes "all" descriptors; close-on-exec
        # keeps it from subprocesses, the fork hook from forked children, whose copies would hide our death
        # from the parent.
        room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 1000
        descriptor = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 900 if room else 200)
        self._socket = socket.socket(fileno=descriptor)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.register_at_fork(after_in_child=self._socket.close)
        self._lock = threading.Lock()
        self.requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}

    def send(self, **message: Any) -> None:
        """One JSON object on one line."""
        self.send_line(encode(message) + "\n")

    def send_line(self, line: str) -> None:
        """A complete line; a channel that cannot take it ends the process, since the parent waits for it."""
        try:
            with self._lock:
                self._socket.sendall(line.encode("utf-8"))
        except OSError:
            _os_exit(CHANNEL_LOST)

    def read(self) -> None:
        """Reads until the end, which means that nobody wants this process any more."""
        rest = b""
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except OSError:
                _os_exit(CHANNEL_LOST)
            if not data:
                # Never a normal exit: pyspark would retry its server at interpreter exit.
                _os_exit(0)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                message = decode(line.decode("utf-8"))
                if message["op"] != "answer":
                    self.requests.put(message)
                elif (waiting := self.answers.pop(message["id"], None)) is not None:
                    waiting.put(message["answer"])


def start_engine(channel: Channel) -> Any:
    """Starts the Sail server and says where it listens: SQL needs no more than that."""
    # Its log goes to descriptor 2, which is the user's; only what went wrong belongs there.
    os.environ.setdefault("RUST_LOG", "error")
    import pysail
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    address = server.listening_address
    if address is None:
        raise RuntimeError("the engine did not start to listen")
    channel.send(
        event="listening",
        port=address[1],
        engine=f"Sail {pysail.__version__}",
        pid=os.getpid(),
    )
    return server


class Worker:
    """The requests, one after another, on the main thread: only there can SIGINT raise KeyboardInterrupt."""

    def __init__(self, channel: Channel, port: int, cell: types.ModuleType, streams: Any) -> None:
        self._channel, self._port, self._cell = channel, port, cell
        self._session = cell.Session()
        self._streams = streams
        self._spark: Optional[Any] = None
        # The cell whose asks are answered, and the process that may ask.
        self._asking: Optional[str] = None
        self._pid = os.getpid()
        self._asks = itertools.count(1)

    def ask(self, body: dict[str, Any]) -> Optional[dict[str, Any]]:
        """What the parent answers to a cell's ask; None where it does not answer.

        Waits as long as the cell may: a cancel interrupts it, and the cell's end ends it."""
        nonce = self._asking
        if nonce is None or os.getpid() != self._pid:
            return None
        if body["ask"] == "ready":
            return {}
        try:
            # What the other side cannot read would end the session.
            _compact(body).encode("utf-8")
        except ValueError:
            return None
        number, waiting = next(self._asks), queue.SimpleQueue[dict[str, Any]]()
        self._channel.answers[number] = waiting
        try:
            # The cell may have ended meanwhile, and its end found nothing that waits.
            if self._asking != nonce:
                return ENDED
            self._channel.send(event="asked", nonce=nonce, id=number, body=body)
            return waiting.get()
        finally:
            self._channel.answers.pop(number, None)

    def on_interrupt(self, _signal: int, frame: Optional[types.FrameType]) -> None:
        """SIGINT: stops user code; between cells and while an answer is written it does nothing."""
        if self._cell.in_user_section(frame):
            self._session.interrupt()

    def serve(self) -> NoReturn:
        """Never returns: the end of the channel, or a request, ends the process."""
        while True:
            request = self._channel.requests.get()
            if request["op"] == "exit":
                _os_exit(0)
            self._run(request)

    def _run(self, request: dict[str, Any]) -> None:
        nonce = request["nonce"]
        self._channel.send(nonce=nonce, event="started")
        self._asking = nonce if request.get("answers") else None
        envelope = self._session.run(request, self._provide(request["spark_session"]), self._streams)
        self._asking = None
        # What threads of the cell wait for does not come any more.
        for number in list(self._channel.answers):
            if (waiting := self._channel.answers.pop(number, None)) is not None:
                waiting.put(ENDED)
        line = self._line(nonce, envelope)
        for descriptor in (1, 2):
            self._mark(descriptor, request["mark"])
        self._channel.send_line(line)

    def _provide(self, session: str) -> Callable[[], dict[str, Any]]:
        return lambda: {"spark": self._spark_for(session)}

    def _line(self, nonce: str, envelope: dict[str, Any]) -> str:
        try:
            line: str = self._cell.frame(nonce, envelope)
        except (MemoryError, ValueError, TypeError) as error:
            # Too large for what is left under the memory cap, or a cell that no encoder knows: an answer
            # all the same.
            message = f"the answer of this cell could not be written: {type(error).__name__}: {error}"
            details = {**dict.fromkeys(("error_class", "sqlstate", "line", "column")), "traceback": ""}
            failed = {"class": type(error).__name__, "message": message, **details}
            line = self._cell.frame(nonce, {**envelope, **EMPTY, "status": "error", "error": failed})
        return line

    def _mark(self, descriptor: int, mark: str) -> None:
        # A subprocess may have made the shared pipe non-blocking.
        _os_set_blocking(descriptor, True)
        data = mark.encode("utf-8")
        while data:
            data = data[_os_write(descriptor, data) :]

    def _spark_for(self, session: str) -> Any:
        from pyspark.sql.connect.session import SparkSession

        known = self._spark
        if known is None or known.is_stopped or known.session_id != session:
            url = f"sc://127.0.0.1:{self._port}/;session_id={session}"
            # For user code that builds its own session: it gets this one.
            os.environ["SPARK_REMOTE"] = url
            self._spark = SparkSession.builder.remote(url).create()
        return self._spark


def main() -> None:
    arguments = argparse.ArgumentParser(description="a sparklease worker; started by sparklease")
    arguments.add_argument("--tag", required=True)
    arguments.add_argument("--parent", type=int, required=True)
    arguments.add_argument("--memory-bytes", type=int, required=True)
    options = arguments.parse_args()
    die_with(options.parent)
    channel = Channel()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        server = start_engine(channel)
        threading.Thread(target=channel.read, name="sparklease-channel", daemon=True).start()
        if channel.requests.get()["op"] != "import":
            _os_exit(0)
        for name in ("values", "tables", "frames", "engine_paths"):
            load(name)
        streams = load("streams")
        worker = Worker(channel, server.listening_address[1], load("cell"), streams.Streams())
        for name in PRELOADED:
            importlib.import_module(name)
        load("engine_tables").install(worker.ask)
        load("engine_shims").install()
        cap_memory(options.memory_bytes)
    except BaseException as error:
        channel.send(event="failed", message=f"{type(error).__name__}: {error}")
        _os_exit(START_FAILED)
    # What the imports made lives for ever; the collection before each cell need not look at it again.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, worker.on_interrupt)
    channel.send(event="ready", python=sys.version.split()[0])
    try:
        worker.serve()
    except BaseException:
        # A broken promise of ours; ended here because a normal exit would hang in pyspark.
        traceback.print_exc()
        _os_exit(CHANNEL_LOST)


if __name__ == "__main__":
    main()
