"""Which processes of a session still live, and how they are ended for good.

Every driver gets a mark in its environment that its children inherit; so even a process that left the group
and the parent is found where /proc exists. Elsewhere only the process group is known.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

MARK = "LIVY_TEST_MARK"


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    if pid <= 0:
        return False
    status = Path(f"/proc/{pid}/stat")
    try:
        if Path("/proc/self/stat").exists():
            return status.read_text("ascii", "replace").rpartition(")")[2].split()[0] not in "ZX"
        os.kill(pid, 0)
    except (OSError, IndexError):
        return False
    return True


def living(mark: str, groups: Iterable[int] = ()) -> dict[int, str]:
    """Living processes with the mark or in one of the groups: pid to the value of the mark, or the group."""
    found: dict[int, str] = {}
    known = set(groups)
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        # Gone meanwhile, or another user's.
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, _parent, group = (
                (folder / "stat").read_text("ascii", "replace").rpartition(")")[2].split()[:3]
            )
            entries = (folder / "environ").read_bytes().split(b"\0")
            value = next((entry for entry in entries if entry.startswith(wanted)), b"")
            if state not in "ZX" and (value or int(group) in known):
                found[int(folder.name)] = value.decode()[len(MARK) + 1 :] or group
    return found


def end_all(mark: str, groups: Iterable[int]) -> list[int]:
    """Kills every one of them; answers with what is left after 5 s, which should be nothing."""
    groups = [group for group in groups if group > 0]
    if not Path("/proc/self/stat").exists():
        for group in groups:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        return []
    until = time.monotonic() + 5
    while (left := living(mark, groups)) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return sorted(left)
