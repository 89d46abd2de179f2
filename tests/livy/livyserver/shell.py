"""The interpreter of one session: JSON lines in on descriptor 0, one line out on descriptor 1 per request.

A program, not a module of the server: started by driver.py. Descriptor 1 is the protocol:
whatever user code writes there by other means than print() is taken for a reply, as on a real server.
Here: nodes and magics, capture, replies. Not here: who reads them (replies.py), Spark itself (spark_side.py).
"""

import ast
import base64
import datetime
import decimal
import io
import json
import os
import re
import sys
import threading
import time
import traceback
import types
from typing import Any, Callable, Optional, Union

Reply = dict[str, Any]
# What user code sees as its globals: no __name__, so that reads "builtins".
names: dict[str, Any] = {}
MODULE_FRAME = re.compile(r'\s*File "<stdin>".*in <module>')


class Capture(io.StringIO):
    """sys.stdout or sys.stderr of user code; bytes are taken as UTF-8."""

    def write(self, text: Union[str, bytes]) -> int:
        return super().write(text.decode("utf-8") if isinstance(text, bytes) else text)


class UnknownMagic(Exception):  # noqa: N818 the name goes over the wire
    """`%word` of an unknown word."""


class CodeError(Exception):
    """User code raised; holds sys.exc_info()."""

    def __init__(self, info: Any) -> None:
        super().__init__()
        self.info = info


def ok(data: dict[str, Any]) -> Reply:
    return {"msg_type": "execute_reply", "content": {"data": data, "status": "ok"}}


def failed(kind: Any, value: Any, trace: Any) -> Reply:
    """Does not clear what was printed: the next statement shows it, as on a real server."""
    lines = traceback.format_exception(kind, value, trace, chain=False)
    log("execute_reply", lines)
    for index, line in enumerate(lines):
        if MODULE_FRAME.match(line):
            del lines[1 : index + 1]
            break
    content = {"ename": kind.__name__, "evalue": str(value), "traceback": lines, "status": "error"}
    return {"msg_type": "execute_reply", "content": content}


class Code:
    """Python; the value of its last statement is shown if it is an expression."""

    def __init__(self, text: str) -> None:
        self._tree = compile(text, "<stdin>", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)

    def run(self) -> None:
        body = self._tree.body  # type: ignore[attr-defined]
        try:
            for position, node in enumerate(body):
                last = position == len(body) - 1
                tree: Any = ast.Interactive([node]) if last else ast.Module([node], [])
                exec(compile(tree, "<stdin>", "single" if last else "exec", dont_inherit=True), names)
        except BaseException:
            raise CodeError(sys.exc_info()) from None


class Magic:
    """One line that begins with %."""

    def __init__(self, line: str) -> None:
        self._word, _, rest = line[1:].partition(" ")
        self._rest = [rest] if " " in line[1:] else []

    def run(self) -> Optional[dict[str, Any]]:
        if not self._word:
            raise UnknownMagic("magic command not specified")
        if self._word not in MAGICS:
            raise UnknownMagic(f"unknown magic command '{self._word}'")
        # Without its argument this is a TypeError that ends the process, as on a real server.
        return MAGICS[self._word](*self._rest)


def nodes_of(text: str) -> list[Union[Code, Magic]]:
    """Magics are looked for only where the whole text is no Python."""
    try:
        return [Code(text)]
    except SyntaxError:
        pass
    chunks: list[str] = []
    plain: list[str] = []
    for line in text.rstrip().split("\n"):
        if line.startswith("%"):
            if plain:
                chunks.append("\n".join(plain))
            plain = []
            chunks.append(line)
        else:
            plain.append(line)
    if plain:
        chunks.append("\n".join(plain))
    return [Magic(chunk) if chunk.startswith("%") else Code(chunk) for chunk in chunks]


def execute(content: dict[str, Any]) -> Reply:
    try:
        nodes = nodes_of(content["code"])
    except SyntaxError as error:
        return failed(type(error), error, None)
    result: Optional[dict[str, Any]] = None
    try:
        for node in nodes:
            result = node.run()
    except UnknownMagic as error:
        return failed(type(error), error, None)
    except CodeError as error:
        return failed(*error.info)
    data = dict(result or {})
    # getvalue: user code that puts something else into sys.stdout ends the process here.
    text = data.pop("text/plain", "") + sys.stdout.getvalue() + sys.stderr.getvalue()  # type: ignore
    fresh_capture()
    text = text.rstrip()
    if text or not data:
        data["text/plain"] = text
    return ok(data)


def cell_of(value: Any) -> tuple[str, Any]:
    """A value of %table with the name of its type; unknown types are shown as text."""
    kind = type(value)
    if value is None:
        return "NULL_TYPE", None
    if kind in PLAIN:
        return PLAIN[kind], value
    if kind in AS_TEXT:
        return AS_TEXT[kind], str(value)
    if kind in (tuple, list):
        cells = [cell_of(item) for item in value]
        if len({name for name, _ in cells}) > 1:
            raise ValueError("value has inconsistent types")
        return "ARRAY_TYPE", [cell for _, cell in cells]
    if kind is dict:
        # Iterates over the keys, not the items: nested dicts end the process, as on a real server.
        return "MAP_TYPE", {cell_of(key)[1]: cell_of(item)[1] for key, item in value}
    return "STRING_TYPE", str(value)


PLAIN: dict[type, str] = {bool: "BOOLEAN_TYPE", int: "INT_TYPE", float: "DOUBLE_TYPE", str: "STRING_TYPE"}
AS_TEXT: dict[type, str] = {
    datetime.date: "DATE_TYPE",
    datetime.datetime: "TIMESTAMP_TYPE",
    decimal.Decimal: "DECIMAL_TYPE",
}


def table(name: str) -> dict[str, Any]:
    if name not in names:
        return failed(KeyError, KeyError(name), None)
    value = names[name]
    rows = value if isinstance(value, (list, tuple)) else [value]
    headers: dict[Any, dict[str, str]] = {}
    data = []
    for row in rows:
        cells = row.asDict() if type(row).__name__ == "Row" else row
        if not isinstance(cells, (list, tuple, dict)):
            cells = [cells]
        pairs = sorted(cells.items()) if isinstance(cells, dict) else enumerate(cells)
        line = []
        for column, item in pairs:
            kind, cell = cell_of(item)
            header = headers.setdefault(column, {"name": str(column), "type": kind})
            if header["type"] == "NULL_TYPE":
                header["type"] = kind
            elif kind not in ("NULL_TYPE", header["type"]):
                raise ValueError("table rows have different types")  # ends the process, as on a real server
            line.append(cell)
        data.append(line)
    ordered = [header for _, header in sorted(headers.items())]
    return {"application/vnd.livy.table.v1+json": {"headers": ordered, "data": data}}


def as_json(name: str) -> dict[str, Any]:
    # An unknown name is an error reply inside an ok one, as on a real server.
    return {"application/json": names[name]} if name in names else failed(KeyError, KeyError(name), None)


def matplot(name: str) -> dict[str, Any]:
    try:
        picture = io.BytesIO()
        names[name].gcf().savefig(picture, format="png")
    except Exception as error:
        return failed(type(error), error, error.__traceback__)
    return {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": ""}


MAGICS: dict[str, Callable[..., dict[str, Any]]] = {"table": table, "json": as_json, "matplot": matplot}


class SparkContext:
    """Stands in for `sc`, which Spark Connect has not; a job group is a tag of the session."""

    def __init__(self, spark: Any) -> None:
        self._spark = spark
        self.version = getattr(spark, "version", "3.5.6")

    def setJobGroup(self, group: str, _description: str = "") -> None:  # noqa: N802 Spark's name
        if self._spark is not None:
            self._spark.clearTags()
            self._spark.addTag(f"livy-{group}")


def give_spark() -> None:
    """`spark` over the address that the driver gave; without one there is only the stand-in of `sc`."""
    url = os.environ.pop("LIVY_TEST_SPARK", "")
    driver = int(os.environ.pop("LIVY_TEST_DRIVER", os.getppid()))
    spark = None
    if url:
        given = leave_with(driver)
        from pyspark.sql.connect.session import SparkSession

        spark = SparkSession.builder.remote(url).create()
        for key, value in json.loads(os.environ.pop("LIVY_TEST_CONF", "{}")).items():
            if key.startswith("spark.sql."):
                spark.conf.set(key, value)
        given.set()
        os.environ["SPARK_REMOTE"] = url

        def leave(_status: int) -> None:
            os.kill(driver, 9)
            sleep(3600)

        system = types.SimpleNamespace(exit=leave)
        lang = types.SimpleNamespace(System=system)
        spark._jvm = types.SimpleNamespace(java=types.SimpleNamespace(lang=lang))
        names["spark"] = spark
    names["sc"] = SparkContext(spark)


def leave_with(driver: int) -> threading.Event:
    """Ends this process with its driver until the event is set: the client of Spark Connect asks for minutes
    for a server that is gone, which a real shell, tied to its JVM, does not.
    """
    given = threading.Event()

    def watch() -> None:
        while not given.wait(0.1):
            if os.getppid() != driver:
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    return given


def slow_down(scale: float) -> None:
    """Scales time.sleep, so that a recorded minute can be replayed in seconds."""
    if scale != 1:
        time.sleep = lambda seconds: sleep(float(seconds) * scale)


def fresh_capture() -> None:
    sys.stdout, sys.stderr = Capture(), Capture()


def log(word: str, lines: list[str]) -> None:
    """To the real descriptor 2: the server shows it when the process dies."""
    ERRORS.write(f"ERROR:fake_shell:{word}\n" + "".join(lines))
    ERRORS.flush()


# Bound before user code or slow_down can replace it.
sleep = time.sleep
REQUESTS, REPLIES, ERRORS = sys.stdin, sys.stdout, sys.stderr


def serve() -> int:
    sys.stdin = io.StringIO()
    fresh_capture()
    try:
        slow_down(float(os.environ.pop("LIVY_TEST_SLEEP_SCALE", "1")))
        give_spark()
        print(sys.stdout.getvalue(), file=ERRORS)  # type: ignore[union-attr]
        print(sys.stderr.getvalue(), file=ERRORS)  # type: ignore[union-attr]
        ERRORS.flush()
        fresh_capture()
        print("READY(port=0)", file=REPLIES)
        REPLIES.flush()
        for line in iter(REQUESTS.readline, ""):
            try:
                message = json.loads(line)
                kind, content = message["msg_type"], message["content"]
            except (ValueError, KeyError) as error:
                log("failed to parse message", [f"{error}\n"])
                continue
            if kind == "shutdown_request":
                return 0
            reply = json.dumps(execute(content))
            print(reply, file=REPLIES)
            REPLIES.flush()
        return 0
    except BaseException as error:
        # A real one stops Spark first: who saw the end of descriptor 1 has not seen these lines.
        sleep(0.1)
        ERRORS.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
        ERRORS.flush()
        return 1


if __name__ == "__main__":
    # Never a normal exit: the client of Spark Connect would wait for a server that may be gone.
    os._exit(serve())
