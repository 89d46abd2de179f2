"""What Sail answers differently from Spark, put right inside the worker's own pyspark client.

Here: rewrites on `spark.sql`, the places where paths are checked before they read as empty, and clear errors
where the engine's answer would mislead. Not here: which paths a text reads and what is there
(engine_paths.py), the same rewrites for SQL that comes from Rust (platform/local), and anything a real Spark
needs: no other platform loads this file.

`install()` patches pyspark's Spark Connect classes once, after they are imported and before the first cell.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, NoReturn, Optional

import sparklease_engine_paths as paths
import sparklease_engine_tables as tables

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


def _start(sql: str) -> int:
    match = _BLANK.match(sql)
    return match.end() if match else 0


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
    from pyspark.sql.connect.expressions import SQLExpression
    from pyspark.sql.connect.readwriter import DataFrameReader
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.connect.streaming.readwriter import DataStreamWriter
    from pyspark.sql.session import SparkSession as AnySparkSession

    _around(SparkSession, "sql", _sql)
    _around(DataFrameReader, "load", _load)
    _around(DataFrameReader, "table", _table)
    _around(SQLExpression, "__init__", _expression)
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
        _check(sqlQuery)
        answer = sqlQuery if kwargs else tables.sql(self, sqlQuery, args)
        if not isinstance(answer, str):
            return answer
        return original(self, rewrite(answer), args, **kwargs)

    return sql


def _check(sql: str) -> None:
    for path in paths.relations(sql):
        paths.check(path)


def _table(original: Any) -> Any:
    def table(self: Any, tableName: str) -> Any:  # noqa: N803 - pyspark's own name
        if isinstance(tableName, str):
            _check(f"TABLE {tableName}")
        return original(self, tableName)

    return table


def _expression(original: Any) -> Any:
    # `expr`, `selectExpr` and `filter` take text too, and it may hold a subquery.
    def expression(self: Any, expr: str) -> None:
        if isinstance(expr, str):
            _check(expr)
        original(self, expr)

    return expression


def _load(original: Any) -> Any:
    def load(self: Any, path: Any = None, format: Any = None, schema: Any = None, **options: Any) -> Any:
        named = format or self._format
        if named is None or str(named).lower() in paths.FILE_FORMATS:
            found = path
            for name, value in {**self._options, **options}.items() if path is None else ():
                found = value if name.lower() == "path" else found
            for one in [found] if isinstance(found, str) else found or ():
                paths.check(str(one))
            if isinstance(path, str):
                path = paths.with_folder(path)
            elif path is not None:
                path = [paths.with_folder(str(one)) for one in path]
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
