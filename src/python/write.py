"""One table written from a query, from rows that came with the call, or from a frame of the kept namespace.

Here: what is asked of the session step by step: look, stage (rows in parts), prepare (the rows to be, and the
checks on them), write, forget. Not here: what fits what and which statements do it; that is decided by who
asks, the same for every platform. How the text is loaded stands in cell.py.
"""

import base64
import contextlib
import datetime as dt
import decimal
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional

from sparklease_catalog import OURS, databases, found, path_of, quoted
from sparklease_cell import describe
from sparklease_values import value_cell

_loads, _b64decode, _decompress = json.loads, base64.b64decode, zlib.decompress

# Delta notes this setting's text with a commit; by it ours is found again.
MARK_SETTING = "spark.databricks.delta.commitInfo.userMetadata"
# Days before 1582 and instants before 1900 are written as they are: Spark reads them so since version 3, and
# refuses to write them otherwise, since older readers would not.
AS_THEY_ARE = {
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
}
# Commits of others that may stand behind ours when it is looked for.
COMMITS = 20

# The rows of the write that is being staged: one at a time, as statements are.
_staged: dict[str, list[Any]] = {}
# Frames whose rows are kept while they are checked and written.
_kept: dict[str, Any] = {}


def _is_connect(spark: Any) -> bool:
    return type(spark).__module__.startswith("pyspark.sql.connect")


# ---- looking -----------------------------------------------------------------------------------------------


def look(spark: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """What is there: the table, its database, the columns of a query or a view, the caller's own columns."""
    database, name = request["table"]
    path = path_of(database, name)
    table = found(spark, path)
    if table is not None:
        table["schema"] = None if table["kind"] == "view" else _schema(spark.table(path))
    answer: dict[str, Any] = {"table": table, "databases": None, "zone": None}
    if table is None:
        known = databases(spark)
        if database.lower() not in (one.lower() for one in known):
            answer["databases"] = known
    with contextlib.suppress(Exception):
        answer["zone"] = spark.conf.get("spark.sql.session.timeZone")
    answer["delta"] = has_delta(spark)
    # A server behind a client may have another engine, without Delta's history.
    answer["history"] = not _is_connect(spark)
    if request.get("ddl") is not None:
        answer["schema"] = _tried(lambda: _schema(spark.createDataFrame([], request["ddl"])))
    if request.get("sql") is not None:
        answer["source"] = _tried(lambda: _schema(spark.sql(request["sql"])))
    elif request.get("view") is not None:
        answer["source"] = _tried(lambda: _schema(spark.table(quoted(request["view"]))))
    return answer


def _schema(frame: Any) -> Any:
    return _loads(frame.schema.json())


def _tried(work: Callable[[], Any]) -> dict[str, Any]:
    """What is wrong with one argument is told beside what is wrong with the others."""
    try:
        return {"fields": work()}
    except Exception as error:
        return {"error": describe(error)}


def has_delta(spark: Any) -> bool:
    """Whether tables of the session's own catalogue can be Delta tables."""
    for key in ("spark.sql.catalog.spark_catalog", "spark.sql.sources.default"):
        with contextlib.suppress(Exception):
            if "delta" in str(spark.conf.get(key, "")).lower():
                return True
    if not _is_connect(spark):
        return False
    # A server tells no client how it is set up; of a format that it has it misses the files.
    try:
        _ = spark.read.format("delta").load(f"/{OURS}nothing").schema
    except Exception as error:
        return not re.search("data source|configure|class", str(error), re.I)
    return True


# ---- rows --------------------------------------------------------------------------------------------------


def stage(_: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keeps a part of the rows until they are prepared."""
    if request["first"]:
        _staged.clear()
    rows = _staged.setdefault(request["id"], [])
    rows += _loads(_decompress(_b64decode(request["rows"])).decode("utf-8"))
    return {"rows": len(rows)}


def reader(kind: Any) -> Callable[[Any], Any]:
    """What makes of a cell, as it travels, the Python value that Spark takes for this type."""
    name = type(kind).__name__
    read: Callable[[Any], Any]
    if name in ("FloatType", "DoubleType"):
        # Also the texts NaN, Infinity and -Infinity.
        read = float
    elif name == "DecimalType":
        read = _decimal
    elif name == "BinaryType":
        read = _b64decode
    elif name == "DateType":
        read = dt.date.fromisoformat
    elif name in ("TimestampType", "TimestampNTZType"):
        read = _timestamp
    elif name == "ArrayType":
        item = reader(kind.elementType)
        read = lambda cell: [item(part) for part in cell]  # noqa: E731
    elif name == "MapType":
        key, value = reader(kind.keyType), reader(kind.valueType)
        read = lambda cell: {key(one): value(other) for one, other in _pairs(cell)}  # noqa: E731
    elif name == "StructType":
        readers = [reader(field.dataType) for field in kind.fields]
        read = lambda cell: tuple(one(part) for one, (_, part) in zip(readers, _pairs(cell)))  # noqa: E731
    else:
        return lambda cell: cell
    return lambda cell: None if cell is None else read(cell)


def _pairs(cell: Any) -> Any:
    return cell.items() if isinstance(cell, dict) else cell


def _decimal(cell: Any) -> decimal.Decimal:
    return decimal.Decimal(str(cell))


def _timestamp(cell: str) -> dt.datetime:
    """`2024-01-31 23:59:59.123456`, with `+00:00` behind it for an instant."""
    # Signs in a date stand before the eleventh character.
    at = max(cell.rfind("+"), cell.rfind("-"))
    text, zone = (cell[:at], cell[at:]) if at > 10 else (cell, "")
    whole, _, fraction = text.partition(".")
    return dt.datetime.fromisoformat(whole + zone).replace(microsecond=int(f"{fraction:0<6}"))


def _rows(rows: list[Any], schema: Any) -> list[tuple[Any, ...]]:
    readers = [reader(field.dataType) for field in schema.fields]
    return [tuple(read(cell) for read, cell in zip(readers, row)) for row in rows]


# ---- preparing ---------------------------------------------------------------------------------------------


def prepare(spark: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Makes the rows to be written the view of the write's id, and answers what is asked about them."""
    view = request["id"]
    frame = _source(spark, request)
    with _settings(spark, {"spark.sql.ansi.enabled": "true"}):
        # A cast that cannot be done is to fail, not to become NULL.
        for outputs in request["select"]:
            frame = frame.selectExpr(*outputs)
    if request["keep"] and not _is_connect(spark):
        # What is checked, counted and written are the same rows, also of a query that changes its mind.
        frame = _kept[view] = frame.persist()
    frame.createOrReplaceTempView(view)
    checked = [
        [[value_cell(value) for value in row] for row in spark.sql(text).collect()]
        for text in request["checks"]
    ]
    return {"checked": checked, "rows": int(frame.count()) if request["count"] else None}


def _source(spark: Any, request: Mapping[str, Any]) -> Any:
    if request.get("sql") is not None:
        return spark.sql(request["sql"])
    if request.get("view") is not None:
        return spark.table(quoted(request["view"]))
    from pyspark.sql.types import StructType

    schema = StructType.fromJson(request["schema"])
    return spark.createDataFrame(_rows(_staged.pop(request["id"], []), schema), schema)


@contextlib.contextmanager
def _settings(spark: Any, settings: Mapping[str, str]) -> Iterator[None]:
    """With these settings, as long as it lasts; of a client whose server does not know them, as it is."""
    if _is_connect(spark):
        yield
        return
    before: dict[str, Optional[str]] = {key: spark.conf.get(key, None) for key in settings}
    try:
        for key, value in settings.items():
            spark.conf.set(key, value)
        yield
    finally:
        for key, old in before.items():
            if old is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, old)


# ---- writing -----------------------------------------------------------------------------------------------


def write(spark: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the prepared view; the figures are the table's own where it keeps any."""
    path, mark = path_of(*request["table"]), request["id"]
    failure: Optional[Exception] = None
    told: dict[str, Any] = {}
    try:
        with _settings(spark, {**AS_THEY_ARE, MARK_SETTING: mark, **request["settings"]}):
            told = _write(spark, path, request)
    except Exception as error:
        failure = error
    commit = _commit(spark, path, mark) if request["format"] == "delta" else {}
    # What the log has is true, whatever was said.
    if failure is not None and not commit:
        if type(failure).__name__ == "AnalysisException":
            return {"refused": describe(failure)}
        raise failure
    table = found(spark, path) or {}
    return {"format": table.get("format"), "location": table.get("location"), **told, **commit}


def _write(spark: Any, path: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Writes, and tells what cannot be told otherwise."""
    if request.get("merge") is not None:
        rows = None
        if request.get("added") is not None and _is_connect(spark):
            # An engine without a history does not tell it afterwards.
            rows = int(spark.sql(request["added"]).collect()[0][0])
        spark.sql(request["merge"]).collect()
        return {"rows": rows}
    frame = spark.table(quoted(request["id"]))
    if request["insert"]:
        frame.write.insertInto(path, overwrite=request["mode"] == "overwrite")
        return {}
    writer = frame.write.format(request["format"]).mode(request["mode"])
    for key, value in request["options"].items():
        writer = writer.option(key, value)
    if request["partition_by"]:
        writer = writer.partitionBy(*(_partition(spark, name, request) for name in request["partition_by"]))
    try:
        writer.saveAsTable(path)
    except Exception as error:
        # Spark 3.5.6 cannot replace a table of Delta 3.3 by name: it is refused before anything is done.
        location = (found(spark, path) or {}).get("location")
        if "truncate in batch mode" not in str(error) or not location:
            raise
        writer.save(location)
    return {}


def _partition(spark: Any, name: str, request: Mapping[str, Any]) -> str:
    """Spark reads the name as SQL does where the catalogue is another one than its own."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None
    return name if plain or _is_connect(spark) or request["format"] != "delta" else quoted(name)


def _commit(spark: Any, path: str, mark: str) -> dict[str, Any]:
    """Version and rows of our commit; nothing where the engine does not tell them."""
    with contextlib.suppress(Exception):
        for row in spark.sql(f"DESCRIBE HISTORY {path} LIMIT {COMMITS}").collect():
            commit = row.asDict()
            if commit.get("userMetadata") != mark:
                continue
            metrics = dict(commit.get("operationMetrics") or {})
            names = ("numTargetRowsInserted", "numTargetRowsUpdated")
            if commit["operation"] != "MERGE":
                names = ("numOutputRows",)
            known = all(name in metrics for name in names)
            rows = sum(int(metrics[name]) for name in names) if known else None
            return {"version": int(commit["version"]), "rows": rows}
    return {}


def forget(spark: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Takes away what a write has left."""
    _staged.clear()
    for view in request["views"]:
        frame = _kept.pop(view, None)
        with contextlib.suppress(Exception):
            spark.catalog.dropTempView(view)
        with contextlib.suppress(Exception):
            if frame is not None:
                frame.unpersist()
    return {}
