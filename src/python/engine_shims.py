"""What Sail answers differently from Spark, put right inside the worker's own pyspark client.

Here: rewrites on `spark.sql`, the places where paths are checked before they read as empty, and clear errors
where the engine's answer would mislead. Not here: which paths a text reads and what is there
(engine_paths.py), the same rewrites for SQL that comes from Rust (platform/local), and anything a real Spark
needs: no other platform loads this file.

`install()` patches pyspark's Spark Connect classes once, after they are imported and before the first cell.
"""

import re
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


# How a text begins that only reads: what we do ourselves begins otherwise.
_QUERY = re.compile(r"(?:SELECT|WITH|FROM|VALUES|TABLE)\b|\(", re.I)
_CREATE = re.compile(r"CREATE\b", re.I)
_COUNTED = re.compile(r"(?:CREATE|INSERT|REPLACE|DELETE|UPDATE|MERGE)\b", re.I)
# How the engine's HTTP client begins; the catalogue's words are not in it.
_REFUSED = "HTTP status "


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


def install() -> None:
    """Patches the client classes of this process."""
    from pyspark.sql.connect.client.core import SparkConnectClient
    from pyspark.sql.connect.expressions import SQLExpression
    from pyspark.sql.connect.readwriter import DataFrameReader
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.connect.streaming.readwriter import DataStreamWriter
    from pyspark.sql.session import SparkSession as AnySparkSession

    tables.around(SparkSession, "sql", _sql)
    tables.around(SparkConnectClient, "_handle_error", _error)
    tables.around(DataFrameReader, "load", _load)
    tables.around(DataFrameReader, "table", _table)
    tables.around(SQLExpression, "__init__", _expression)
    tables.around(SparkSession, "stop", _stop)
    # Scripts name a master out of habit; here there is exactly one engine, and pyspark would refuse both
    # together.
    tables.around(AnySparkSession.Builder, "master", lambda _: lambda builder, master: builder)

    streaming = (
        "structured streaming is not supported by the local engine (Sail): read and write in batches instead"
    )
    for name in ("start", "toTable"):
        tables.refuse(DataStreamWriter, name, streaming)
    artifacts = (
        "the local engine (Sail) takes no artifacts: it shares this process, its imports and local files"
    )
    for name in ("addArtifact", "addArtifacts", "copyFromLocalToFs"):
        tables.refuse(SparkSession, name, artifacts)


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
        frames: dict[str, Any] = {}
        if kwargs:
            sqlQuery, frames = _formatted(self, sqlQuery, kwargs)  # noqa: N806 - pyspark's own name
        _check(sqlQuery)
        start = _start(sqlQuery)
        answer = tables.sql(self, sqlQuery, args, {} if _QUERY.match(sqlQuery, start) else frames)
        if not isinstance(answer, str):
            return answer
        text = rewrite(answer)
        result = original(self, _template(text, frames) if frames else text, args, **frames)
        if _CREATE.match(sqlQuery, start):
            tables.settle()
        return _countable(result) if _COUNTED.match(sqlQuery, start) else result

    return sql


def _formatted(session: Any, sql: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The text with these values in it as pyspark writes them, and the frames that it names."""
    from pyspark.sql.connect.sql_formatter import SQLStringFormatter

    formatter = SQLStringFormatter(session)
    text = formatter.format(sql, **values)
    return text, {name: frame for frame, name in formatter._temp_views}


def _template(sql: str, frames: dict[str, Any]) -> str:
    """The text that pyspark formats to this one, given the frames by their names."""
    sql = sql.replace("{", "{{").replace("}", "}}")
    for name in frames:
        sql = sql.replace(name, f"{{{name}}}")
    return sql


def _countable(result: Any) -> Any:
    """The same rows, where a count is of a type that PySpark knows: the engine counts without a sign."""
    from pyspark.sql.connect.plan import CachedRelation

    if not isinstance(result._plan, CachedRelation) or result.columns != ["count"]:
        return result
    return result.select(result["count"].cast("bigint").alias("count"))


def _error(original: Any) -> Any:
    def handle_error(self: Any, error: Exception) -> NoReturn:
        from pyspark.errors import AnalysisException, PySparkException

        try:
            original(self, error)
        except PySparkException as raised:
            reason = tables.refusal() if _REFUSED in str(raised) else None
            if reason is None:
                raise
        raise AnalysisException(reason) from None

    return handle_error


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
