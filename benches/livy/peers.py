"""pylivy and sparkmagic as they are, each with a session of its own on one server.

Started with the server's address; says `ready` when both have a session. Then one line of stdin for each
statement: the client, the seconds that it sleeps, and its mark. The answer is one line: the mark and the
wall time at which the client had the result. Ends with its stdin, and deletes both sessions.
"""

import sys
import time
import types
from collections.abc import Callable

# Parts of sparkmagic that need a notebook server and Kerberos; no statement passes through them.
sys.modules["sparkmagic.serverextension.handlers"] = types.SimpleNamespace(  # type: ignore[assignment]
    load_jupyter_server_extension=None
)
sys.modules["requests_kerberos"] = types.SimpleNamespace(  # type: ignore[assignment]
    HTTPKerberosAuth=object, REQUIRED=1, OPTIONAL=2, DISABLED=3
)

import livy  # noqa: E402
from sparkmagic.livyclientlib.command import Command  # noqa: E402
from sparkmagic.livyclientlib.endpoint import Endpoint  # noqa: E402
from sparkmagic.livyclientlib.livyreliablehttpclient import (  # noqa: E402
    LivyReliableHttpClient,
)
from sparkmagic.livyclientlib.livysession import LivySession  # noqa: E402


class Nowhere:
    """Where sparkmagic shows what it does."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class Pylivy:
    def __init__(self, url: str) -> None:
        self.session = livy.LivySession.create(url, kind=livy.SessionKind.PYSPARK, echo=False)
        self.session.wait()

    def run(self, code: str) -> str:
        return self.session.run(code).text

    def end(self) -> None:
        self.session.close()


class Sparkmagic:
    def __init__(self, url: str) -> None:
        client = LivyReliableHttpClient.from_endpoint(Endpoint(url, None))
        self.session = LivySession(client, {"kind": "pyspark"}, Nowhere())
        self.session.start()

    def run(self, code: str) -> str:
        ok, text, _ = Command(code).execute(self.session)
        if not ok:
            raise RuntimeError(text)
        return text

    def end(self) -> None:
        self.session.delete()


def main() -> None:
    # What they print is no answer of ours.
    answers, sys.stdout = sys.stdout, sys.stderr
    clients = {"pylivy": Pylivy(sys.argv[1]), "sparkmagic": Sparkmagic(sys.argv[1])}
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        name, seconds, mark = line.split()
        text = clients[name].run(f"import time; time.sleep({seconds}); '{mark}'")
        at = time.time()
        if mark not in text:
            raise RuntimeError(f"{name} gave {text!r} for {mark}")
        print(mark, repr(at), file=answers, flush=True)
    for client in clients.values():
        client.end()


main()
