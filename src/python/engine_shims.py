"""What Sail answers differently from Spark, put right inside the worker's own pyspark client.

Here: rewrites on `spark.sql`, the check that a path exists before it reads as empty, and clear errors where
the engine's answer would mislead. Not here: the same rewrites for SQL that comes from Rust
(platform/local), and anything a real Spark needs: no other platform loads this file.

`install()` patches pyspark's Spark Connect classes once, after they are imported and before the first cell.
"""

import functools
import glob
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Optional
from urllib.parse import unquote

# Formats whose `path` names files; for any other format (jdbc, a Python data source) it may mean anything.
FILE_FORMATS = (
    "parquet",
    "csv",
    "json",
    "text",
    "orc",
    "avro",
    "xml",
    "binaryfile",
    "arrow",
    "delta",
    "iceberg",
)

_BLANK = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.S)
_DESCRIBE = re.compile(r"(?P<verb>DESCRIBE|DESC)\s+(?:TABLE\s+)?(?P<detail>(?:EXTENDED|FORMATTED)\s+)?", re.I)
# What may follow DESCRIBE without being the name of a table.
_NO_TABLE = re.compile(
    r"(?:FUNCTION|CATALOG|DATABASE|SCHEMA|NAMESPACE|QUERY|HISTORY|DETAIL|SELECT|WITH|FROM|VALUES|INSERT)\b(?!\s*(?:$|;|\.))",
    re.I,
)
_USE = re.compile(r"USE\s+(?!(?:DATABASE|SCHEMA|NAMESPACE|CATALOG)\s+\S)", re.I)
_SET = re.compile(r"SET(?![\w.`])\s*(?P<rest>.*?)\s*;?\s*$", re.I | re.S)
_SET_PAIR = re.compile(r"(?:`(?P<quoted>[^`]+)`|(?P<key>[\w.\-]+))\s*=\s*(?P<value>.*)$", re.S)
_SET_ZONE = re.compile(r"TIME\s+ZONE\s+(?P<zone>'[^']*'|\"[^\"]*\")$", re.I)
_SET_NAME = re.compile(r"[\w\-]+(?:\.[\w\-]+)+$")
_SET_VARIABLE = re.compile(r"(?:VAR|VARIABLE|CATALOG|ROLE)\s", re.I)
# Comments, strings and quoted names are matched first, so that a path relation inside of them is none.
_RELATIONS = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
    rf"|(?<![\w.`])(?:{'|'.join(FILE_FORMATS)})\s*\.\s*`(?P<path>(?:[^`]|``)+)`|`(?:[^`]|``)*`",
    re.I | re.S,
)


# ---- SQL text ----------------------------------------------------------------------------------------------


def rewrite(sql: str) -> str:
    """The text in the form that Sail's parser takes; a text it does not know stays as it is."""
    start = _start(sql)
    head, body = sql[:start], sql[start:]
    match = _DESCRIBE.match(body)
    if match and not _NO_TABLE.match(body, match.end()):
        extended = "EXTENDED " if match["detail"] else ""
        return f"{head}{match['verb']} TABLE {extended}{body[match.end() :]}"
    match = _USE.match(body)
    if match:
        return f"{head}USE DATABASE {body[match.end() :]}"
    return sql


def setting(sql: str) -> Optional[tuple[str, Optional[str]]]:
    """The (key, value) of a `SET key=value` or `SET TIME ZONE 'value'`, (key, None) of a `SET key`, else
    None.

    Raises ValueError for a bare `SET`, which the engine cannot answer.
    """
    match = _SET.match(sql, _start(sql))
    if match is None:
        return None
    rest = match["rest"]
    if rest in ("", "-v", "-V"):
        raise ValueError(
            "SET without a key is not supported by the local engine: use spark.conf.get(key) or SET key"
        )
    zone = _SET_ZONE.match(rest)
    if zone:
        return "spark.sql.session.timeZone", zone["zone"][1:-1]
    if _SET_VARIABLE.match(rest):
        return None
    pair = _SET_PAIR.match(rest)
    if pair:
        return pair["quoted"] or pair["key"], pair["value"]
    return (rest, None) if _SET_NAME.match(rest) else None


def path_relations(sql: str) -> list[str]:
    """The paths that a text reads as tables (``parquet.`/x` ``)."""
    return [match["path"].replace("``", "`") for match in _RELATIONS.finditer(sql) if match["path"]]


def _start(sql: str) -> int:
    match = _BLANK.match(sql)
    return match.end() if match else 0


# ---- paths -------------------------------------------------------------------------------------------------


def check_path(path: str) -> None:
    """Raises FileNotFoundError for a local path or pattern that names nothing, which Sail reads as empty."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.\-]+):", path)
    if scheme and scheme[1].lower() != "file":
        return
    local = unquote(re.sub(r"^file:(?://(?:localhost)?(?=/))?", "", path, flags=re.I)) if scheme else path
    if os.path.lexists(local):
        return
    pattern = re.search(r"[*?\[{]", local) is not None
    if pattern and any(next(glob.iglob(one, recursive=True), None) for one in _braces(local)):
        return
    what = "no file matches the pattern" if pattern else "no such file or folder"
    raise FileNotFoundError(f"{what}: {path} (the working directory is {os.getcwd()})")


def _absolute(path: str) -> str:
    """Sail refuses a relative pattern (`data*`: "empty path in URL"); anything else stays as it is."""
    relative = not os.path.isabs(path) and ":" not in path
    return os.path.join(os.getcwd(), path) if relative and re.search(r"[*?\[{]", path) else path


def _braces(pattern: str) -> Iterator[str]:
    """`a{b,c}` as `ab` and `ac`: Spark's patterns have braces, Python's have none."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        yield pattern
        return
    for choice in match[1].split(","):
        yield from _braces(pattern[: match.start()] + choice + pattern[match.end() :])


# ---- patches -----------------------------------------------------------------------------------------------


def _around(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(make(original)))


def _refuse(owner: Any, name: str, reason: str) -> None:
    def refused(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(reason)

    _around(owner, name, lambda _: refused)


def install() -> None:
    """Patches the client classes of this process."""
    from pyspark.sql.connect.readwriter import DataFrameReader
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.connect.streaming.readwriter import DataStreamWriter
    from pyspark.sql.session import SparkSession as AnySparkSession

    _around(SparkSession, "sql", _sql)
    _around(DataFrameReader, "load", _load)
    _around(SparkSession, "stop", _stop)
    # Scripts name a master out of habit; here there is exactly one engine, and pyspark would refuse both
    # together.
    _around(AnySparkSession.Builder, "master", lambda _: lambda builder, master: builder)

    streaming = (
        "structured streaming is not supported by the local engine (Sail): read and write in batches instead"
    )
    for name in ("start", "toTable"):
        _refuse(DataStreamWriter, name, streaming)
    artifacts = (
        "the local engine (Sail) takes no artifacts: it shares this process, its imports and local files"
    )
    for name in ("addArtifact", "addArtifacts", "copyFromLocalToFs"):
        _refuse(SparkSession, name, artifacts)


def _sql(original: Any) -> Any:
    def sql(self: Any, sqlQuery: str, args: Any = None, **kwargs: Any) -> Any:  # noqa: N803 - pyspark's own name
        if not isinstance(sqlQuery, str):
            return original(self, sqlQuery, args, **kwargs)
        known = setting(sqlQuery)
        if known is not None:
            key, value = known
            if value is None:
                value = self.conf.get(key, "<undefined>")
            else:
                self.conf.set(key, value)
            return self.createDataFrame([(key, value)], "key string, value string")
        for path in path_relations(sqlQuery):
            check_path(path)
        return original(self, rewrite(sqlQuery), args, **kwargs)

    return sql


def _load(original: Any) -> Any:
    def load(self: Any, path: Any = None, format: Any = None, schema: Any = None, **options: Any) -> Any:
        named = format or self._format
        if named is None or str(named).lower() in FILE_FORMATS:
            found = path if path is not None else options.get("path", self._options.get("path"))
            for one in [found] if isinstance(found, str) else found or ():
                check_path(str(one))
            if isinstance(path, str):
                path = _absolute(path)
            elif path is not None:
                path = [_absolute(str(one)) for one in path]
        return original(self, path, format, schema, **options)

    return load


def _stop(original: Any) -> Any:
    def stop(self: Any) -> None:
        # A released session id can never be used again on Sail, and the lease owns this one: many scripts
        # end with stop(), and what follows (SQL from outside, the next cell) must still find its temp
        # views.
        self.release_session_on_close = False
        original(self)

    return stop
