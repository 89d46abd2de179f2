"""The server's own record of what happened: the oracle of tests that kill a client.

Each event: `n` (from 0), `event`, `wall` (seconds since 1970), `mono` (seconds of the monotonic clock, which
all processes of the machine share), and what belongs to the event.
"""

import json
import threading
import time
from pathlib import Path
from typing import Any, Optional, TextIO


class Events:
    def __init__(self, path: str = "") -> None:
        self._lock = threading.Condition()
        self._all: list[dict[str, Any]] = []
        self._file: Optional[TextIO] = Path(path).open("a", encoding="utf-8") if path else None

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
            if self._file is not None:
                self._file.write(json.dumps(entry) + "\n")
                self._file.flush()
            self._lock.notify_all()

    def since(self, first: int, wait: float = 0.0) -> list[dict[str, Any]]:
        """Those from number `first` on; waits up to `wait` seconds for one."""
        with self._lock:
            self._lock.wait_for(lambda: len(self._all) > first, timeout=wait)
            return self._all[first:]
