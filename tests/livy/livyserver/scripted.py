"""An interpreter without processes: it answers by script, and does a little arithmetic where no answer fits.

An answer is JSON: `match` (a regular expression searched in the code), then any of `text`, `data`, `ename`
with `evalue` and `traceback`, `seconds`, `progress` (a list, spread over the seconds), `stops_on_cancel`,
`die` (`python` or `driver`). `\\1` in texts is a group of the match. `times` limits how often it is used.
`python` instead of these is the source of a function `answer(code, match)` that makes the answer, in the
server's process.
"""

import ast
import operator
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from . import replies
from .interpreter import DriverLostError, InterpreterDiedError, Output

OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}


class Script:
    """The answers of a server, shared by its sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: list[dict[str, Any]] = []

    def set(self, answers: list[dict[str, Any]]) -> None:
        for answer in answers:
            re.compile(answer["match"])
        with self._lock:
            self._answers = [dict(answer) for answer in answers]
            for answer in self._answers:
                if "python" in answer:
                    names: dict[str, Any] = {}
                    exec(answer["python"], names)
                    answer["answer"] = names["answer"]

    def find(self, code: str) -> dict[str, Any]:
        with self._lock:
            for answer in self._answers:
                found = re.search(answer["match"], code, re.S)
                if found and answer.get("times", 1) > 0:
                    if "times" in answer:
                        answer["times"] -= 1
                    if "python" in answer:
                        made: dict[str, Any] = answer["answer"](code, found)
                        return made
                    return {key: expand(found, value) for key, value in answer.items() if key != "match"}
        return {}


def expand(found: "re.Match[str]", value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"\\(\d)", lambda group: found[int(group[1])] or "", value)
    if isinstance(value, dict):
        return {key: expand(found, item) for key, item in value.items()}
    return [expand(found, item) for item in value] if isinstance(value, list) else value


class ScriptedInterpreter:
    def __init__(self, script: Script, lost: Callable[[], None]) -> None:
        self._script, self._lost = script, lost
        self._stopped = threading.Event()
        self._cancelled = threading.Event()
        self._dead = False

    def start(self) -> None:
        pass

    def set_group(self, _statement: int, _kind: str) -> None:
        self._cancelled.clear()

    def run(self, code: str, _kind: str, _statement: int, progress: Callable[[float], None]) -> Output:
        if self._dead:
            raise InterpreterDiedError("")
        answer = self._script.find(code) or plain(code)
        self._wait(answer, progress)
        if self._stopped.is_set():
            raise DriverLostError
        if answer.get("die") == "driver":
            self.kill("driver")
            raise DriverLostError
        if answer.get("die") == "python":
            self._dead = True
            raise InterpreterDiedError("\n")
        if self._cancelled.is_set() and answer.get("stops_on_cancel"):
            return replies.error("Py4JJavaError", "Job 0 cancelled part of cancelled job group 0")
        if "ename" in answer:
            return replies.error(answer["ename"], answer.get("evalue", ""), answer.get("traceback", ()))
        return {"status": "ok", "data": answer.get("data") or {"text/plain": answer.get("text", "")}}

    def _wait(self, answer: dict[str, Any], progress: Callable[[float], None]) -> None:
        length = float(answer.get("seconds", 0))
        steps = answer.get("progress") or [0.0]
        begun = time.monotonic()
        for number, step in enumerate(steps, 1):
            progress(step)
            until = begun + length * number / len(steps)
            while (left := until - time.monotonic()) > 0:
                if self._stopped.wait(min(left, 0.02)):
                    return
                if self._cancelled.is_set() and answer.get("stops_on_cancel"):
                    return

    def cancel(self, _statement: int) -> None:
        self._cancelled.set()

    def stop(self, _busy: bool, _timeout: float) -> None:
        self._stopped.set()
        self._lost()

    def close(self) -> None:
        pass

    def abandon(self, _after: float) -> None:
        self._stopped.set()

    def kill(self, what: str) -> None:
        self._dead = True
        if what == "driver":
            self._stopped.set()
            self._lost()

    def pids(self) -> dict[str, int]:
        return {"driver": 0, "python": 0}


def plain(code: str) -> dict[str, Any]:
    """Literals, arithmetic, print and time.sleep of these; anything else answers an empty text."""
    try:
        body = ast.parse(code).body
        text, seconds = "", 0.0
        for position, node in enumerate(body):
            call = node.value if isinstance(node, ast.Expr) else None
            if isinstance(call, ast.Call):
                name = (
                    call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                )
                values = [value_of(item) for item in call.args]
                if name == "print":
                    text += " ".join(map(str, values)) + "\n"
                elif name == "sleep":
                    seconds += float(values[0])
            elif call is not None and position == len(body) - 1:
                value = value_of(call)
                text += "" if value is None else f"{value!r}\n"
    except SyntaxError as problem:
        return {"ename": "SyntaxError", "evalue": f"{problem.msg} (<stdin>, line {problem.lineno})"}
    except ZeroDivisionError as problem:
        return {"ename": "ZeroDivisionError", "evalue": str(problem)}
    except (ValueError, KeyError, TypeError):
        return {}
    return {"text": text.rstrip(), "seconds": seconds}


def value_of(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](value_of(node.left), value_of(node.right))
    return ast.literal_eval(node)
