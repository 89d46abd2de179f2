"""The harness: runs one cell of user code and answers with one envelope, the same text on every platform.

Here: namespaces, display, figures, warnings, tracebacks, the framing of the envelope. Not here: how a cell
reaches this process and where the envelope goes, and anything one engine needs (worker.py, engine_shims.py:
local only).

The harness is values.py, tables.py, frames.py, streams.py and cell.py: standard library only, Python 3.9
and later. A carrier (worker.py, or repl.py with its own texts) loads them in this order, each as the module
`sparklease_<name>` in sys.modules. They may be exec'ed where there is no file, so they read no `__file__`;
they have no `from __future__` import, which a pasted text would lose. What user code could replace
(os.dup2, json.dumps, …) is bound at import, before it runs.
"""

import ast
import base64
import contextlib
import gc
import io
import linecache
import os
import re
import signal
import sys
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from sparklease_frames import to_view
from sparklease_streams import Streams
from sparklease_tables import Budget, table_of
from sparklease_values import encode

# A repr longer than this helps no reader; the protocol names the number.
TEXT_LIMIT = 20_000
# Python's own tracebacks of a deep recursion stay under this after its collapsing of repeated frames.
TRACEBACK_LIMIT = 20_000
MESSAGE_LIMIT = 4_000
WARNING_LIMIT = 20
# A small PNG goes to the client inline; above this it is drawn again with fewer dots.
FIGURE_BYTES = 300_000
# Cells of a kept namespace whose source lines stay readable for tracebacks of functions they defined.
SOURCES_KEPT = 200
SHOW = "__sparklease_show__"

_os_getpid, _os_exit = os.getpid, os._exit
_b64decode = base64.b64decode


def frame(nonce: str, envelope: Mapping[str, Any]) -> str:
    """One line: the envelope between sentinels that only this statement's nonce can make."""
    return f"<<sparklease:{nonce}>>{encode(envelope)}<<sparklease:{nonce}/>>\n"


def user_section(work: Callable[[], Any]) -> Any:
    """Calls `work`; a cancel may raise KeyboardInterrupt below this frame and nowhere else.

    The carrier's signal handler looks for this frame (`in_user_section`) instead of a flag: a flag would
    have to be cleared before the answer is written, and a signal could fall between.
    """
    return work()


def in_user_section(current: Optional[types.FrameType]) -> bool:
    """For signal handlers: whether the interrupted code runs below `user_section`."""
    while current is not None:
        if current.f_code is user_section.__code__:
            return True
        current = current.f_back
    return False


# ---- what a cell shows -------------------------------------------------------------------------------------


class Outputs:
    """The text, tables, figures and warnings of one cell, within the limits of its request."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.text: Optional[str] = None
        self.tables: list[dict[str, Any]] = []
        self.figures: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self._budget = Budget(int(request["max_rows"]), int(request["max_bytes"]))
        self._max_figures = int(request["max_figures"])

    def display(self, *values: Any) -> None:
        """What user code calls: tables and figures are kept, anything else is printed."""
        for value in values:
            if not self._show(value):
                print(value)

    def show_value(self, value: Any) -> None:
        """The value of a last expression."""
        if value is None or self._show(value):
            return
        text = repr(value)
        if len(text) > TEXT_LIMIT:
            text = f"{text[:TEXT_LIMIT]}… (cut: {len(text)} characters in all)"
        self.text = text

    def _show(self, value: Any) -> bool:
        if any(kind.__module__ == "matplotlib.figure" for kind in type(value).__mro__):
            self._add_figure(value)
            return True
        with warnings.catch_warnings():
            # The conversions are ours; what they warn of is no news to the user.
            warnings.simplefilter("ignore")
            table = table_of(value, self._budget)
        if table is None:
            return False
        if table["truncated"] and not table["rows"] and self._budget.max_rows:
            self.warn("a table was left out: its rows exceed the byte limit of one answer")
        self.tables.append(table)
        return True

    def warn(self, text: str) -> None:
        """Adds a warning once, up to the limit."""
        if text not in self.warnings and len(self.warnings) < WARNING_LIMIT:
            self.warnings.append(text)

    def collect_figures(self, draw: bool) -> None:
        """Takes every open pyplot figure and closes it, also when the cell failed."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        try:
            for number in pyplot.get_fignums() if draw else ():
                self._add_figure(pyplot.figure(number))
        finally:
            pyplot.close("all")

    def _add_figure(self, figure: Any) -> None:
        if any(known["of"] is figure for known in self.figures):
            return
        if len(self.figures) >= self._max_figures:
            self.warn(f"only the first {self._max_figures} figures are shown")
            return
        data = b""
        for dpi in (110, 80, 60, 45):
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=dpi, bbox_inches="tight")
            data = file.getvalue()
            if len(data) <= FIGURE_BYTES:
                break
        # PNG: the header chunk begins at byte 16 with width and height.
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        encoded = base64.b64encode(data).decode("ascii")
        record = {"mime": "image/png", "data": encoded, "width": width, "height": height}
        self.figures.append({"of": figure, "record": record})


# ---- errors ------------------------------------------------------------------------------------------------

_LIBRARY_FRAME = re.compile(r"^  File \"(?!<cell)[^\"\n]*\", line \d+, in .*\n(?:    .*\n)*", re.M)
_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)*)\]")


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException as inner:
        return f"<the error's own text failed: {type(inner).__name__}>"
    # Spark appends the server's Java frames to some messages, and a failing UDF tells of pyspark's own
    # frames.
    text = _LIBRARY_FRAME.sub("", text.split("\n\nJVM stacktrace:", 1)[0])
    return (
        text
        if len(text) <= MESSAGE_LIMIT
        else f"{text[:MESSAGE_LIMIT]}… (cut: {len(text)} characters in all)"
    )


def _class_name(error: BaseException) -> str:
    kind = type(error)
    module = kind.__module__ if isinstance(kind.__module__, str) else "builtins"
    # Spark's classes are known by their short names, and the long ones differ between its clients.
    return (
        kind.__qualname__
        if module.split(".")[0] in ("builtins", "__main__", "pyspark")
        else f"{module}.{kind.__qualname__}"
    )


def _of_spark(error: BaseException, methods: Sequence[str]) -> Optional[str]:
    for method in methods:
        with contextlib.suppress(Exception):
            value = getattr(error, method)()
            if isinstance(value, str):
                return value
    return None


def _user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    return [
        entry for entry in traceback.extract_tb(error.__traceback__) if entry.filename.startswith("<cell")
    ]


def _own_lines(error: BaseException) -> list[str]:
    """The last lines of a traceback: the class and message, for a syntax error its place first."""
    lines = []
    if isinstance(error, SyntaxError) and isinstance(error.lineno, int):
        lines.append(f'  File "{error.filename}", line {error.lineno}\n')
        if isinstance(error.text, str):
            line = error.text.rstrip("\n")
            lines.append(f"    {line}\n")
            if isinstance(error.offset, int) and error.offset > 0:
                indent = "".join(letter if letter == "\t" else " " for letter in line[: error.offset - 1])
                lines.append(f"    {indent}^\n")
        message = error.msg if isinstance(error.msg, str) else _message(error)
    else:
        message = _message(error)
    lines.append(f"{_class_name(error)}: {message}\n" if message else f"{_class_name(error)}\n")
    for note in getattr(error, "__notes__", None) or ():
        lines.append(f"{note}\n" if isinstance(note, str) else "")
    for inner in getattr(error, "exceptions", None) or ():
        if isinstance(inner, BaseException):
            lines.extend("  | " + line for line in _own_lines(inner))
    return lines


def _traceback(error: BaseException, seen: set[int]) -> list[str]:
    seen.add(id(error))
    lines: list[str] = []
    cause, context = error.__cause__, error.__context__
    if cause is not None and id(cause) not in seen:
        lines += _traceback(cause, seen)
        lines.append("\nThe above error was the direct cause of the following one:\n\n")
    elif (
        context is not None
        and not error.__suppress_context__
        and id(context) not in seen
        and _user_frames(context)
    ):
        lines += _traceback(context, seen)
        lines.append("\nDuring handling of the above error, another one occurred:\n\n")
    frames = _user_frames(error)
    if frames:
        lines.append("Traceback (most recent call last):\n")
        lines += traceback.StackSummary.from_list(frames).format()
    return lines + _own_lines(error)


def describe(error: BaseException) -> dict[str, Any]:
    """The `error` of an envelope: where in the user's lines it happened, and Spark's own names for it."""
    message = _message(error)
    line: Optional[int] = None
    column: Optional[int] = None
    if isinstance(error, SyntaxError) and str(error.filename).startswith("<cell"):
        line, column, message = error.lineno, error.offset, str(error.msg)
    else:
        frames = _user_frames(error)
        if frames:
            line = frames[-1].lineno
    condition = state = None
    if any(kind.__module__.split(".")[0] == "pyspark" for kind in type(error).__mro__):
        condition = _of_spark(error, ("getCondition", "getErrorClass"))
        state = _of_spark(error, ("getSqlState",))
        match = _CONDITION.search(message[:200])
        if condition is None and match:
            condition = match[1]
    text = "".join(_traceback(error, set()))
    if len(text) > TRACEBACK_LIMIT:
        text = f"{text[: TRACEBACK_LIMIT // 2]}\n…\n{text[-TRACEBACK_LIMIT // 2 :]}"
    return {
        "class": _class_name(error),
        "message": message,
        "error_class": condition,
        "sqlstate": state,
        "line": line,
        "column": column,
        "traceback": text.rstrip("\n"),
    }


# ---- running -----------------------------------------------------------------------------------------------


class _Surroundings:
    """Interpreter-wide settings that user code may change and that must not reach the answer or the next
    cell."""

    def __init__(self) -> None:
        self._main = sys.modules.get("__main__")
        self._hooks = (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook)
        self._recursion = sys.getrecursionlimit()
        self._traced = (sys.gettrace(), sys.getprofile())
        self._signals: dict[Any, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._signals = {number: signal.getsignal(number) for number in signal.valid_signals()}
            self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def restore(self) -> None:
        # Signals first: a handler or a timer of the user's could raise anywhere below.
        for number, handler in self._signals.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        if self._signals:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
            for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
                signal.setitimer(timer, 0)
        sys.settrace(self._traced[0])
        sys.setprofile(self._traced[1])
        sys.setrecursionlimit(self._recursion)
        sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook = self._hooks
        if self._main is not None:
            sys.modules["__main__"] = self._main


class Session:
    """Runs cells one after another; owns the kept namespace."""

    def __init__(self) -> None:
        self.interrupted = False
        self._kept: Optional[types.ModuleType] = None
        self._kept_filters: Optional[list[Any]] = None
        self._cells = 0
        self._outputs: Optional[Outputs] = None

    def interrupt(self) -> None:
        """For the carrier's signal handler, inside a user section."""
        self.interrupted = True
        raise KeyboardInterrupt

    def run(
        self,
        request: Mapping[str, Any],
        provide: Callable[[], Mapping[str, Any]],
        streams: Streams,
        work: Optional[Callable[[Outputs], None]] = None,
    ) -> dict[str, Any]:
        """Runs one cell and gives its envelope; never raises for what user code did.

        `request` is the protocol's `run` object; `provide` gives the names that the platform adds to the
        namespace (`spark`, …) and may be slow or fail like user code. `work` runs in place of the request's
        code where it is no Python. On return descriptors and sys.std* are the carrier's.
        """
        started, process = time.monotonic(), _os_getpid()
        outputs = self._outputs = Outputs(request)
        self.interrupted = False
        surroundings = _Surroundings()
        streams.begin()
        failure: Optional[BaseException] = None
        error: Optional[dict[str, Any]] = None
        with warnings.catch_warnings():
            try:
                user_section(
                    lambda: work(outputs) if work is not None else self._cell(request, provide, outputs)
                )
            except BaseException as caught:
                failure = caught
            if _os_getpid() != process:
                # A child that user code forked has come back out of the cell: the answer is its parent's.
                _os_exit(0)
            surroundings.restore()
            warnings.simplefilter("ignore")
            if isinstance(failure, SystemExit) and failure.code in (None, 0):
                failure = None
            if failure is not None:
                error = self._described(failure)
                # Its traceback holds this frame and the namespace: nothing of it may outlive the cell.
                failure = None
            try:
                user_section(lambda: outputs.collect_figures(draw=not self.interrupted))
            except BaseException as caught:
                outputs.warn(f"a figure could not be drawn: {_class_name(caught)}: {_message(caught)}")
            with contextlib.suppress(BaseException):
                user_section(streams.flush)
        stdout, stderr = streams.end()
        self._outputs = None
        status = "ok" if error is None else "cancelled" if self.interrupted else "error"
        return {
            "nonce": request["nonce"],
            "status": status,
            "elapsed_ms": int((time.monotonic() - started) * 1000),
            "text": outputs.text,
            "tables": outputs.tables,
            "figures": [figure["record"] for figure in outputs.figures],
            "warnings": outputs.warnings,
            "stdout": stdout,
            "stderr": stderr,
            "error": error,
        }

    @staticmethod
    def _described(failure: BaseException) -> dict[str, Any]:
        # Describing calls methods of the user's classes, which may raise, or run until a cancel.
        try:
            found: dict[str, Any] = user_section(lambda: describe(failure))
            return found
        except BaseException as inner:
            text = f"<describing the error failed: {type(inner).__name__}>"
            nothing = dict.fromkeys(("error_class", "sqlstate", "line", "column"))
            return {"class": type(failure).__name__, "message": text, **nothing, "traceback": text}

    def _cell(
        self, request: Mapping[str, Any], provide: Callable[[], Mapping[str, Any]], outputs: Outputs
    ) -> None:
        kept = bool(request["kept"])
        module, name = self._namespace(kept)
        names = module.__dict__

        def show(value: Any) -> None:
            outputs.show_value(value)
            if kept and value is not None:
                names["_"] = value

        warnings.showwarning = self._show_warning
        view = request.get("view")
        if view is not None:
            names.update(provide())
            to_view(names, view["variable"], view["name"])
            return
        source = _b64decode(request["code"], validate=True).decode("utf-8")
        lines = source.splitlines(keepends=True)
        linecache.cache[name] = (len(source), None, lines, name)
        try:
            code = compile(_shown(ast.parse(source, name)), name, "exec", dont_inherit=True)
            names.update(provide())
            names.setdefault("display", self.display)
            names[SHOW] = show
            exec(code, names)
        finally:
            names.pop(SHOW, None)
            if kept:
                self._kept_filters = list(warnings.filters)

    def display(self, *values: Any) -> None:
        """The `display` of user code; text where no cell is running (a thread that was left behind)."""
        if self._outputs is None:
            print(*values)
        else:
            self._outputs.display(*values)

    def _namespace(self, kept: bool) -> tuple[types.ModuleType, str]:
        """The module that is `__main__` during the cell, so that pickle and dataclasses find what the cell
        defines."""
        if kept:
            self._cells += 1
            linecache.cache.pop(f"<cell {self._cells - SOURCES_KEPT}>", None)
            if self._kept_filters is not None:
                warnings.filters[:] = self._kept_filters  # type: ignore[index]
            if self._kept is None:
                self._kept = types.ModuleType("__main__")
            module, name = self._kept, f"<cell {self._cells}>"
        else:
            # What the last fresh namespace held is garbage in cycles (functions and their globals).
            gc.collect()
            module, name = types.ModuleType("__main__"), "<cell>"
        sys.modules["__main__"] = module
        return module, name

    def _show_warning(
        self, message: Any, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any
    ) -> None:
        place = f" (line {lineno})" if filename.startswith("<cell") else ""
        if self._outputs is not None:
            self._outputs.warn(f"{category.__name__}: {message}{place}")


def _shown(tree: ast.Module) -> ast.Module:
    """Wraps a last expression into a call that shows its value: a failing query then fails at the user's
    line."""
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        callee = ast.copy_location(ast.Name(SHOW, ast.Load()), last)
        last.value = ast.copy_location(ast.Call(callee, [last.value], []), last)
    return tree
