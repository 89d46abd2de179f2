"""The body of `POST /sessions` and `POST …/statements`: what is taken, what is refused and in which words."""

import json
import re
from typing import Any, Optional

from . import bodies
from .bodies import RefusedError

# In the order in which a real server lists them.
FIELDS = [
    *("executorCores", "conf", "driverMemory", "name", "driverCores", "idleTimeout", "pyFiles", "archives"),
    *("kind", "files", "jars", "proxyUser", "numExecutors", "heartbeatTimeoutInSecond", "ttl", "queue"),
    "executorMemory",
]
KINDS = {
    "spark": "spark",
    "scala": "spark",
    "pyspark": "pyspark",
    "python": "pyspark",
    "sparkr": "sparkr",
    "r": "sparkr",
    "sql": "sql",
    "shared": "shared",
}
NUMBERS = ("driverCores", "executorCores", "numExecutors", "heartbeatTimeoutInSecond")
LISTS = ("jars", "pyFiles", "files", "archives")
TIME = re.compile(r"(-?\d+)(us|ms|s|m|min|h|d)?")
SECONDS = {"us": 1e-6, "ms": 1e-3, None: 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def known_fields(version: str) -> list[str]:
    left_out = {"0.7": ("ttl", "idleTimeout"), "0.8": ("idleTimeout",)}.get(version[:3], ())
    return [name for name in FIELDS if name not in left_out]


def place(raw: bytes, at: int) -> str:
    before = raw[:at]
    line = before.count(b"\n") + 1
    return bodies.SOURCE.format(line=line, column=at - (before.rfind(b"\n") + 1) + 1)


def read(raw: bytes, of: str, known: list[str]) -> dict[str, Any]:
    """The JSON object in `raw`, or the refusal that Jackson would give."""
    if not raw.strip():
        text = "No content to map due to end-of-input\n at " + place(raw, -1 if raw else 0).replace(
            "column: 1", "column: 0"
        )
        raise RefusedError(bodies.bare(400, text))
    try:
        value = json.loads(raw.decode("utf-8"))
    except ValueError as error:
        raise RefusedError(bodies.bare(400, broken(raw, getattr(error, "pos", 0)))) from None
    if value is None:
        raise RefusedError(bodies.bare(500, "java.lang.NullPointerException"))
    if not isinstance(value, dict):
        kind, token = ("Array", "START_ARRAY") if isinstance(value, list) else ("String", "VALUE_STRING")
        text = (
            f"Cannot deserialize value of type `{of}` from {kind} value (token `JsonToken.{token}`)\n at "
            + place(raw, 0)
        )
        raise RefusedError(bodies.bare(400, text))
    for name in value:
        if name not in known:
            at = raw.find(json.dumps(name).encode()) + len(json.dumps(name)) + 3
            raise RefusedError(bodies.unknown_field(name, of, known, place(raw, at)))
    return value


def broken(raw: bytes, position: int) -> str:
    text = raw.decode("utf-8", "replace")
    if position >= len(text):
        return (
            "Unexpected end-of-input: expected close marker for Object (start marker at "
            + place(raw, 0)
            + ")\n at "
            + place(raw, position)
        )
    mark = text[position]
    wanted = (
        "was expecting double-quote to start field name"
        if text[:position].rstrip()[-1:] in "{,"
        else (
            "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
        )
    )
    return f"Unexpected character ('{mark}' (code {ord(mark)})): {wanted}\n at " + place(raw, position + 1)


def seconds(text: Optional[str]) -> Optional[float]:
    """A time as Spark writes it; a bare number counts milliseconds."""
    if text is None:
        return None
    found = TIME.fullmatch(text.strip().lower())
    if not found:
        raise ValueError(f"Invalid time string: {text}")
    return int(found[1]) * SECONDS[found[2]]


def read_create(raw: bytes, version: str) -> dict[str, Any]:
    """Fields with their defaults. What costs an id on a real server is checked later, by `check_create`."""
    given = read(raw, bodies.SESSION_REQUEST, known_fields(version))
    kind = str(given.get("kind") or "shared")
    if kind.lower() not in KINDS:
        chain = f'(through reference chain: {bodies.SESSION_REQUEST}["kind"])'
        raise RefusedError(bodies.bare(400, f"Invalid kind: {kind} {chain}"))
    wanted: dict[str, Any] = {name: given.get(name) for name in FIELDS}
    wanted["kind"] = KINDS[kind.lower()]
    for name in ("ttl", "idleTimeout", "name"):
        if wanted[name] is not None:
            wanted[name] = str(wanted[name])
    for name, form in (*((name, list) for name in LISTS), ("conf", dict)):
        if wanted[name] is not None and not isinstance(wanted[name], form):
            text = f"Cannot deserialize value of type `scala.collection.immutable.{form.__name__.title()}`"
            raise RefusedError(bodies.bare(400, f"{text}\n at {place(raw, 0)}"))
    for name in LISTS:
        wanted[name] = wanted[name] or []
    wanted["conf"] = {key: str(value) for key, value in (wanted["conf"] or {}).items()}
    return wanted


def check_create(wanted: dict[str, Any]) -> None:
    for name in NUMBERS:
        value = wanted[name]
        if value is None:
            wanted[name] = 0
        elif not isinstance(value, int) or isinstance(value, bool):
            module = "are in module java.base of loader 'bootstrap'"
            kind = "java.lang.String" if isinstance(value, str) else "java.lang.Double"
            wanted_kind = "java.lang.Integer"
            text = f"class {kind} cannot be cast to class {wanted_kind} ({kind} and {wanted_kind} {module})"
            raise RefusedError(bodies.bare(500, f"java.lang.ClassCastException: {text}"))
    try:
        seconds(wanted["ttl"])
        seconds(wanted["idleTimeout"])
    except ValueError as error:
        raise RefusedError(bodies.rejected(str(error))) from None
    if wanted["conf"].get("spark.submit.deployMode"):
        raise RefusedError(
            bodies.rejected("Blacklisted configuration values in session config: spark.submit.deployMode")
        )
    for name in LISTS:
        for path in wanted[name]:
            if str(path).startswith(("/", "file:")):
                local = str(path).removeprefix("file:") if hasattr(str, "removeprefix") else str(path)
                text = f"requirement failed: Local path {local} cannot be added to user sessions."
                raise RefusedError(bodies.rejected(text))


def too_little_memory(wanted: dict[str, Any]) -> bool:
    """A heap that no JVM starts with: the driver dies at once."""
    return (
        size_in_bytes(wanted["conf"].get("spark.driver.memory") or wanted["driverMemory"] or "1g") < 2 << 20
    )


def size_in_bytes(value: Any) -> int:
    """As the JVM and Livy write sizes: a number with k, m or g behind it."""
    found = re.fullmatch(r"(\d+)([kmg]?)b?", str(value).strip().lower())
    if not found:
        raise RefusedError(bodies.rejected(f"Invalid size string: {value}"))
    return int(found[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[found[2]]
