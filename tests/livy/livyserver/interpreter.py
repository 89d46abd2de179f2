"""What a session needs of what runs its statements: process.py and scripted.py are the two kinds."""

from collections.abc import Callable
from typing import Any, Protocol

Output = dict[str, Any]


class StartError(Exception):
    """The driver ended before it was ready; what it printed is in the session's log."""


class InterpreterDiedError(Exception):
    """The interpreter's output ended; the text is its last words on stderr."""


class DriverLostError(Exception):
    """The driver is gone, and nobody will answer."""


class Interpreter(Protocol):
    def start(self) -> None:
        """Returns when statements can be sent; `StartError` otherwise."""

    def set_group(self, statement: int, kind: str) -> None:
        """Names the Spark jobs of the statement to come, by a request of its own to the interpreter."""

    def run(self, code: str, kind: str, statement: int, progress: Callable[[float], None]) -> Output: ...

    def cancel(self, statement: int) -> None:
        """Stops Spark jobs of the statement, not its Python."""

    def stop(self, busy: bool, timeout: float) -> None:
        """Ends the driver; kills it after `timeout` seconds, which a busy interpreter survives."""

    def close(self) -> None:
        """No statement is run any more: called by the thread that ran them."""

    def abandon(self, after: float) -> None:
        """Forgets the driver, which ends itself `after` seconds later."""

    def kill(self, what: str) -> None:
        """SIGKILL to `driver` or `python`, for tests."""

    def pids(self) -> dict[str, int]: ...
