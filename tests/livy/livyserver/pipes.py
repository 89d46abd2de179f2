"""Lines out of a pipe, with a way to stop waiting for them: closing a descriptor does not wake its reader."""

import os
import select
import threading
from typing import Optional


class Lines:
    """Owns the read end. `None` means that the writers are gone, or that `abandon` was called."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self._wake, self._waker = os.pipe()
        self._lock = threading.Lock()
        self._abandoned = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self.ended = threading.Event()

    def read(self) -> Optional[str]:
        while b"\n" not in self._rest:
            if self._abandoned:
                return None
            ready = self._poll.poll()
            if any(descriptor == self._wake for descriptor, _ in ready):
                self.ended.set()
                return None
            data = os.read(self._descriptor, 1 << 20)
            if not data:
                self.ended.set()
                rest, self._rest = self._rest, b""
                return rest.decode("utf-8", "replace") if rest else None
            self._rest += data if self._rest else b""
            self._rest = self._rest or data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "replace")

    def abandon(self) -> None:
        """Ends the wait of a reader; the descriptor itself is closed by `close`."""
        with self._lock:
            if not self._abandoned:
                self._abandoned = True
                os.write(self._waker, b"x")

    def close(self) -> None:
        """Only when nobody reads any more. A writer that still runs meets a broken pipe."""
        self.abandon()
        with self._lock:
            if self._descriptor >= 0:
                for descriptor in (self._descriptor, self._wake, self._waker):
                    os.close(descriptor)
                self._descriptor = -1
