"""What the driver makes of a line of the interpreter: an output, or the exception of its parser."""

import json
import re
from typing import Any

JACKSON = "com.fasterxml.jackson.core"
MAPPING = "org.apache.livy.shaded.json4s.package$MappingException"
VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


def error(ename: str, evalue: str, traceback: Any = ()) -> dict[str, Any]:
    return {"status": "error", "ename": ename, "evalue": evalue, "traceback": list(traceback)}


def read(line: str, longest: int) -> dict[str, Any]:
    """One line of the protocol. Nothing says whose reply it is: a line too many shifts all that follow."""
    try:
        reply = json.loads(line, parse_constant=refuse_constant)
    except NotANumberError as problem:
        hint = "enable JsonParser.Feature.ALLOW_NON_NUMERIC_NUMBERS to allow"
        return error(f"{JACKSON}.JsonParseException", f"Non-standard token '{problem}': {hint}")
    except ValueError:
        return error(f"{JACKSON}.JsonParseException", unparsable(line))
    too_long = longest_string(reply, longest)
    if too_long:
        text = f"String length ({too_long}) exceeds the maximum length ({longest})"
        return error(f"{JACKSON}.exc.StreamConstraintsException", text)
    if not isinstance(reply, dict) or not isinstance(reply.get("msg_type"), str):
        return no_value("java.lang.String")
    if reply["msg_type"] != "execute_reply":
        return error("java.lang.AssertionError", "assertion failed")
    content = reply.get("content")
    status = content.get("status") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(status, str):
        return no_value("java.lang.String")
    if status == "ok":
        if not isinstance(content.get("data"), dict):
            return no_value("org.apache.livy.shaded.json4s.JsonAST$JObject")
        return {"status": "ok", "data": content["data"]}
    if status == "error":
        if not all(isinstance(content.get(name), str) for name in ("ename", "evalue")):
            return no_value("java.lang.String")
        return error(content["ename"], content["evalue"], content.get("traceback") or [])
    return error("Internal Error", f"Unknown status {status}")


class NotANumberError(ValueError):
    """NaN or Infinity, bare."""


def refuse_constant(name: str) -> None:
    raise NotANumberError(name)


def no_value(kind: str) -> dict[str, Any]:
    return error(MAPPING, f"Did not find value which can be converted into {kind}")


def unparsable(line: str) -> str:
    """Names the first word that is no JSON, and where it ends."""
    text = line.rstrip("\n")
    shown = text if len(text) <= 500 else text[:500] + f'"[truncated {len(text) - 500} chars]'
    start = len(text) - len(text.lstrip())
    word = re.match(r"[A-Za-z_$][A-Za-z0-9_$]*", text[start:])
    if word and word[0] not in ("true", "false", "null"):
        column = start + len(word[0]) + 1
        what = f"Unrecognized token '{word[0]}': was expecting {VALUES}"
    elif not text.strip():
        return f'No content to map due to end-of-input\n at [Source: (String)"{shown}"; line: 1, column: 0]'
    else:
        mark = text[start : start + 1]
        column = start + 2
        what = f"Unexpected character ('{mark}' (code {ord(mark)})): expected a valid value {VALUES}"
    # The column is where the reader stood: after the first word of the line.
    return f'{what}\n at [Source: (String)"{shown}"; line: 1, column: {column}]'


def longest_string(value: Any, limit: int) -> int:
    """The length of a string above the limit, or 0."""
    if isinstance(value, str):
        return len(value) if len(value) > limit else 0
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max((longest_string(item, limit) for item in items), default=0)
