"""Starts the Livy-compatible test server: `python tests/livy/server.py --port 0 …`; README.md says more.

Prints one JSON line when it listens: {"url": …, "port": …, "pid": …}. Ends when its stdin ends, and then
kills every process that it started. Secrets come in the environment: LIVY_TEST_SECRET.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from livyserver import settings
from livyserver.front import Front


def main() -> int:
    options = settings.parse()
    front = Front(options, os.environ.pop("LIVY_TEST_SECRET", ""))
    if options.faults:
        front.faults.add(json.loads(Path(options.faults).read_text("utf-8")))
    if options.script:
        front.table.script.set(json.loads(Path(options.script).read_text("utf-8")))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=front.serve_forever, daemon=True).start()
    ready = {"url": front.address, "port": front.server_address[1], "pid": os.getpid()}
    print(json.dumps(ready), flush=True)
    threading.Thread(target=wait_for_end, args=(ended,), daemon=True).start()
    ended.wait()
    left = front.table.close()
    if left:
        print(f"these processes could not be ended: {left}", file=sys.stderr)
    return 1 if left or front.bugs else 0


def wait_for_end(ended: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    ended.set()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not a normal exit: sessions may still have threads that wait.
    os._exit(code)
