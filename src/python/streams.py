"""The descriptors and text streams of a cell: fresh while user code runs, the carrier's own again afterwards.

Here: `Streams` for a carrier that drains descriptors 1 and 2 itself, `Capture` for one that needs them for
its own protocol. Not here: what a cell is and what its answer holds (cell.py, where the loading is
described too).
"""

import codecs
import contextlib
import ctypes
import fcntl
import io
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, Optional

Emit = Callable[[str, str], None]

# Bound before user code can replace them.
_os_dup2, _os_close = os.dup2, os.close
try:
    _fflush: Optional[Callable[..., Any]] = ctypes.CDLL(None).fflush
except (OSError, AttributeError, TypeError):
    _fflush = None


class _Unbuffered(io.FileIO):
    """Writes all it is given at once, so that text of Python and of C code keeps its order."""

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        total = len(view)
        while view:
            written = super().write(view)
            if written is None:
                # A subprocess that shares the pipe may have made it non-blocking.
                time.sleep(0.01)
            else:
                view = view[written:]
        return total


def _private(descriptor: int) -> int:
    """A duplicate with a number so high that `os.closerange(3, 256)` in user code misses it."""
    for lowest in (900, 200):
        with contextlib.suppress(OSError):
            return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


class Streams:
    """Descriptors 0 to 2 and sys.std*: fresh when a cell begins, the carrier's own again when it ends.

    Used as it is where the carrier drains the descriptors itself.
    """

    def __init__(self) -> None:
        self._saved = [_private(descriptor) for descriptor in (0, 1, 2)]
        self._python: tuple[Any, ...] = ()

    def begin(self) -> None:
        """Before user code."""
        self._python = (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        sys.stdout = sys.__stdout__ = self._text(1)  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self._text(2)  # type: ignore[misc]

    def flush(self) -> None:
        """Empties what Python and the C library still hold, to wherever descriptors 1 and 2 point now."""
        for stream in {id(s): s for s in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)}.values():
            # User code may have put anything there, or closed it.
            with contextlib.suppress(Exception):
                stream.flush()  # type: ignore[union-attr]
        if _fflush is not None:
            _fflush(None)

    def end(self) -> tuple[str, str]:
        """After user code and `flush`: restores, and gives the captured stdout and stderr."""
        for descriptor, saved in enumerate(self._saved):
            _os_dup2(saved, descriptor)
        sys.stdin, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__ = self._python  # type: ignore[misc]
        return "", ""

    def close(self) -> None:
        """Gives the private descriptors back; for a carrier that makes one object per cell."""
        for saved in self._saved:
            with contextlib.suppress(OSError):
                _os_close(saved)

    @staticmethod
    def _text(descriptor: int) -> io.TextIOWrapper:
        raw = _Unbuffered(descriptor, "w", closefd=False)
        name = "<stdout>" if descriptor == 1 else "<stderr>"
        raw.name = name
        return io.TextIOWrapper(raw, "utf-8", errors="backslashreplace", write_through=True)


class _Tail:
    """Follows one captured file: keeps its head and its tail, lets go of what has been read."""

    def __init__(self, name: str, limit: int, emit: Optional[Emit]) -> None:
        with tempfile.TemporaryFile(buffering=0) as file:  # unlinked at once: nothing stays behind a kill
            self.descriptor = _private(file.fileno())
        # Appending keeps writers apart that share the file, and lets the file be cut under them.
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, fcntl.fcntl(self.descriptor, fcntl.F_GETFL) | os.O_APPEND)
        self._name, self._half, self._emit = name, max(limit // 2, 1), emit
        self._read = self._freed = self._total = 0
        self._head, self._rest = bytearray(), bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def drain(self) -> None:
        while True:
            data = os.pread(self.descriptor, 1 << 16, self._read)
            if not data:
                break
            self._read += len(data)
            self._total += len(data)
            if self._emit is not None:
                self._emit(self._name, self._decoder.decode(data))
            room = self._half - len(self._head)
            self._head += data[: max(room, 0)]
            self._rest += data[max(room, 0) :]
            if len(self._rest) > 2 * self._half:
                del self._rest[: -self._half]
            if self._read - self._freed >= 1 << 23:
                self._free()

    def _free(self) -> None:
        # Gives the disk blocks back that were read (a hole in the file: 3 = punch, keep the size). Without
        # holes the file is cut: text written in that instant may be lost, but only from the middle of more
        # than 8 MB.
        with contextlib.suppress(AttributeError, OSError, TypeError):
            span = (ctypes.c_long(self._freed), ctypes.c_long(self._read - self._freed))
            if ctypes.CDLL(None).fallocate(self.descriptor, 3, *span) == 0:
                self._freed = self._read
                return
        os.ftruncate(self.descriptor, 0)
        self._read = self._freed = 0

    def finish(self) -> str:
        self.drain()
        _os_close(self.descriptor)
        tail = self._rest[-self._half :]
        left_out = self._total - len(self._head) - len(tail)
        note = f"\n… {left_out} bytes left out …\n".encode() if left_out else b""
        return (self._head + note + tail).decode("utf-8", "replace")


class Capture(Streams):
    """For carriers that use descriptors 0 to 2 for themselves: redirects them into unlinked files for one
    cell.

    Files and not pipes: C code that prints while it holds the GIL would fill a pipe that no thread can
    drain. `emit("stdout" | "stderr", text)` is called from a thread while the cell runs. `limit` counts
    bytes per stream.
    """

    def __init__(self, limit: int = 200_000, emit: Optional[Emit] = None) -> None:
        super().__init__()
        self._tails = [_Tail("stdout", limit, emit), _Tail("stderr", limit, emit)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="sparklease-capture", daemon=True)

    def begin(self) -> None:
        super().begin()
        # Reading descriptor 0 would eat the carrier's next request.
        nothing = os.open(os.devnull, os.O_RDONLY)
        _os_dup2(nothing, 0)
        _os_close(nothing)
        self._stdin = sys.stdin = open(0, closefd=False)  # noqa: SIM115 - lives as long as the cell
        for descriptor, tail in zip((1, 2), self._tails):
            _os_dup2(tail.descriptor, descriptor)
        self._thread.start()

    def _follow(self) -> None:
        while not self._stop.wait(0.1):
            for tail in self._tails:
                tail.drain()

    def end(self) -> tuple[str, str]:
        super().end()
        self._stdin.close()
        self._stop.set()
        self._thread.join()
        out, err = (tail.finish() for tail in self._tails)
        self.close()
        return out, err
