"""The server's own record of what happened: the oracle of tests that kill a client.

Each event: `n` (from 0), `event`, `wall` (seconds since 1970), `mono` (seconds of the monotonic clock, which
all processes of the machine share), and what belongs to the event.
"""

import json
import os
import threading
import time
from typing import Any


class Events:
    def __init__(self, path: str = "") -> None:
        self._lock = threading.Condition()
        self._all: list[dict[str, Any]] = []
        # A descriptor, not a file object: each event is one write, on disk even if the server is killed.
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if path else -1

    def add(self, event: str, **what: Any) -> None:
        with self._lock:
            entry = {
                "n": len(self._all),
                "event": event,
                "wall": time.time(),
                "mono": time.monotonic(),
                **what,
            }
            self._all.append(entry)
            if self._file >= 0:
                os.write(self._file, (json.dumps(entry) + "\n").encode())
            self._lock.notify_all()

    def since(self, first: int, wait: float = 0.0) -> list[dict[str, Any]]:
        """Those from number `first` on; waits up to `wait` seconds for one."""
        with self._lock:
            self._lock.wait_for(lambda: len(self._all) > first, timeout=wait)
            return self._all[first:]
