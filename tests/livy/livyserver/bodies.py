"""Answers and the exact texts of a real server's refusals, as recorded."""

import json
from dataclasses import dataclass, field
from typing import Any

JSON_TYPE = "application/json;charset=utf-8"
SESSION_REQUEST = "org.apache.livy.server.interactive.CreateInteractiveRequest"
STATEMENT_REQUEST = "org.apache.livy.ExecuteRequest"
SOURCE = "[Source: (org.eclipse.jetty.server.HttpInputOverHTTP); line: {line}, column: {column}]"
CSRF = "Missing Required Header for CSRF protection."
SERVLET = "org.apache.livy.server.interactive.InteractiveSessionServlet"


@dataclass
class Answer:
    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: dict[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """Ends a route with an answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def as_json(status: int, value: Any, **headers: str) -> Answer:
    return Answer(status, dumps(value), headers=headers)


def message(status: int, text: str) -> Answer:
    """`{"msg": …}`: what the routes themselves say."""
    return as_json(status, {"msg": text})


def bare(status: int, text: str) -> Answer:
    """A JSON string: what an exception says."""
    return as_json(status, text)


def html(status: int, reason: str, path: str = "/") -> Answer:
    rows = [("URI", path), ("STATUS", str(status)), ("MESSAGE", reason), ("SERVLET", SERVLET)]
    table = "".join(f"<tr><th>{name}:</th><td>{value}</td></tr>\n" for name, value in rows)
    text = (
        '<html>\n<head>\n<meta http-equiv="Content-Type" content="text/html;charset=ISO-8859-1"/>\n'
        f"<title>Error {status} {reason}</title>\n</head>\n<body><h2>HTTP ERROR {status} {reason}</h2>\n"
        f"<table>\n{table}</table>\n\n</body>\n</html>\n"
    )
    return Answer(status, text.encode("latin-1", "replace"), "text/html;charset=iso-8859-1")


def csrf(method: str, accept: str, path: str) -> Answer:
    """HTML, JSON or nothing, by method and Accept."""
    if method == "DELETE":
        return Answer(400, b"", "")
    if "json" in accept:
        text = f'{{\n"servlet":"{SERVLET}","message":"{CSRF}","url":"{path}","status":"400"\n}}'
        return Answer(400, text.encode(), "application/json;charset=iso-8859-1")
    return html(400, CSRF, path)


def no_session(key: str) -> Answer:
    return message(404, f"Session '{key}' not found.")


def wrong_state(state: str) -> Answer:
    return bare(500, f"java.lang.IllegalStateException: Session is in state {state}")


def not_active() -> Answer:
    return message(400, "requirement failed: Session isn't active.")


def rejected(reason: str) -> Answer:
    return message(400, f"Rejected, Reason: {reason}")


def unknown_field(name: str, of: str, known: list[str], place: str) -> Answer:
    listed = ", ".join(f'"{item}"' for item in known)
    return bare(
        400,
        f'Unrecognized field "{name}" (class {of}), not marked as ignorable ({len(known)} known properties: '
        f'{listed}])\n at {place} (through reference chain: {of}["{name}"])',
    )


def rpc_failed(exception: str, frame: str) -> Answer:
    """A refusal by the driver comes back with its Java stack."""
    return bare(
        500,
        f"java.util.concurrent.ExecutionException: org.apache.livy.rsc.rpc.RpcException: {exception}\n"
        f"\tat {frame}\n\tat org.apache.livy.repl.ReplDriver.handle(ReplDriver.scala:60)\n",
    )


def rpc_too_large(size: int, limit: int) -> Answer:
    return bare(
        500,
        "java.util.concurrent.ExecutionException: io.netty.handler.codec.EncoderException: "
        f"java.lang.IllegalArgumentException: Message ({size} bytes) exceeds maximum allowed size "
        f"({limit} bytes).",
    )


def rpc_closed() -> Answer:
    return bare(500, "java.lang.IllegalStateException: RPC channel is closed.")


def lost_with_driver() -> Answer:
    return bare(500, "java.util.concurrent.CancellationException")
