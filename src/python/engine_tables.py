"""Statements about tables that Sail lacks, done by the process that started the worker.

Here: the asks (a text of `spark.sql`, a frame to save as a table), and the patches of pyspark's writers and
catalogue that make them. Not here: what is done then (platform/local/asks.rs, tables_sql/), and what the
worker puts right by itself (engine_shims.py).

An ask is one line on the control channel and waits for one answer; `install()` gets the function that sends
it. Where nobody answers, and in a forked child, the engine gets everything as it is.
"""

import decimal
import functools
import math
import threading
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn, Optional

# Sends what is asked and returns the answer; None where nobody answers.
Ask = Callable[[dict[str, Any]], Optional[dict[str, Any]]]

_ask: Ask = lambda _: None  # noqa: E731 - replaced by install()

_MODES = {
    "default": "error",
    "errorifexists": "error",
    **{mode: mode for mode in ("error", "ignore", "append", "overwrite")},
}


# ---- asking ------------------------------------------------------------------------------------------------


def asked(**body: Any) -> Optional[dict[str, Any]]:
    """The answer, or None where nobody answers. Raises what went wrong, as pyspark would."""
    answer = _ask(body)
    if answer is not None and answer.get("error"):
        _raise(answer["error"])
    return answer


def _raise(error: dict[str, str]) -> NoReturn:
    from pyspark.errors import AnalysisException

    text = _words(error)
    if error["code"] == "cancelled":
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        raise RuntimeError(text)
    if error["code"] == "unsupported":
        raise NotImplementedError(text)
    raise AnalysisException(text)


def _words(error: dict[str, str]) -> str:
    return f"{error['message']}. {error['hint']}" if error["hint"] else error["message"]


def settle() -> None:
    """Makes a table that was made at a place of the user's one that can be read and written at once."""
    asked(ask="settle")


def refusal() -> Optional[str]:
    """Why the catalogue refused what the engine asked of it last; None where that is not known."""
    answer = _ask({"ask": "refusal"})
    refused = answer and answer.get("refusal")
    return _words(refused) if refused else None


def sql(session: Any, text: str, args: Any, frames: dict[str, Any]) -> Any:
    """What a text gives that is not the engine's to answer: a frame, or the text to send to the engine.

    `frames` are those that the text names; they are views as long as the ask lasts."""
    made = []
    try:
        for name, frame in frames.items():
            frame.createTempView(name)
            made.append(name)
        answer = asked(ask="sql", text=text, params=_bindable(args))
    finally:
        for name in made:
            session.catalog.dropTempView(name)
    if answer is None:
        return text
    if "unset" in answer:
        session.conf.unset(answer["unset"])
        return _frame(session, [], [])
    if "sql" in answer:
        return answer["sql"]
    return _frame(session, answer["columns"], answer["rows"])


def _bindable(args: Any) -> Any:
    """The values that JSON and SQL both have, by name or by place; None if there are others."""
    if args is None:
        return {}
    values = args.values() if isinstance(args, dict) else args
    if not all(_is_plain(value) for value in values):
        return None
    return dict(args) if isinstance(args, dict) else list(args)


def _is_plain(value: Any) -> bool:
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 63
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in (str, bool)


def _frame(session: Any, columns: list[dict[str, str]], rows: list[list[Any]]) -> Any:
    from pyspark.sql.types import StructType

    if not columns:
        return session.createDataFrame([], StructType([]))
    schema = ", ".join(f"`{column['name']}` {column['type']}" for column in columns)
    kinds = [column["type"] for column in columns]
    values = [tuple(_value(kind, value) for kind, value in zip(kinds, row)) for row in rows]
    return session.createDataFrame(values, schema)


def _value(kind: str, value: Any) -> Any:
    if value is not None and kind == "timestamp":
        return datetime.fromisoformat(value)
    if value is not None and kind.startswith("decimal"):
        return decimal.Decimal(value)
    return value


# ---- saving ------------------------------------------------------------------------------------------------


def _save(session: Any, frame: Any, **how: Any) -> bool:
    """Saves a frame as a table; False where the engine is to do it."""
    from pyspark.sql.connect.dataframe import DataFrame

    view = f"__sparklease_{uuid.uuid4().hex}"
    if _ask({"ask": "ready"}) is None:
        return False
    try:
        DataFrame(frame, session).createTempView(view)
    except Exception as error:
        # Nobody has called it so.
        raise type(error)(str(error).replace(f"{view}.", "")) from None
    try:
        answer = asked(ask="save", view=view, **how)
    finally:
        session.catalog.dropTempView(view)
    return answer is not None and not answer.get("engine")


def _option(options: dict[str, Optional[str]], name: str) -> Optional[str]:
    found = [value for key, value in options.items() if key.lower() == name.lower()]
    return found[-1] if found else None


def _save_as_table(original: Any) -> Any:
    def save_as_table(
        self: Any,
        name: str,
        format: Optional[str] = None,
        mode: Optional[str] = None,
        partitionBy: Any = None,  # noqa: N803 - pyspark's own name
        **options: Any,
    ) -> None:
        from pyspark.errors import IllegalArgumentException

        self.mode(mode).options(**options)
        if partitionBy is not None:
            self.partitionBy(partitionBy)
        if format is not None:
            self.format(format)
        write = self._write
        mode = _MODES.get((write.mode or "error").lower())
        if mode is None:
            raise IllegalArgumentException(
                f'unknown save mode "{write.mode}": use "overwrite", "append", "ignore" or "error"'
            )
        replace_where = _option(write.options, "replaceWhere")
        if replace_where is not None:
            raise NotImplementedError(
                "replaceWhere is not supported by the local engine (Sail): delete the rows by "
                f'spark.sql("DELETE FROM {name} WHERE {replace_where}"), then append'
            )
        plain = isinstance(name, str) and not (write.bucket_cols or write.clustering_cols)
        saved = plain and _save(
            self._spark,
            self._df,
            table=name,
            mode=mode,
            format=write.source,
            path=_option(write.options, "path"),
            partition_by=list(write.partitioning_cols),
            overwrite_schema=_option(write.options, "overwriteSchema") == "true",
            merge_schema=(_option(write.options, "mergeSchema") or "").lower() == "true",
        )
        if not saved:
            original(self, name)

    return save_as_table


def _v2(mode: str) -> Callable[[Any], Any]:
    def around(original: Any) -> Any:
        def save(self: Any) -> None:
            write = self._write
            if write.clustering_columns:
                raise NotImplementedError(
                    "clusterBy is not supported by the local engine (Sail): use partitionedBy, or nothing"
                )
            saved = _save(
                self._spark,
                self._df,
                table=self._table_name,
                mode=mode,
                format=write.provider,
                path=_option(write.options, "path") or _option(write.options, "location"),
                partition_by=[_plain_name(column) for column in write.partitioning_columns],
                properties={k: str(v) for k, v in write.table_properties.items() if v is not None},
            )
            if not saved:
                original(self)

        return save

    return around


def _plain_name(column: Any) -> str:
    name = getattr(column._expr, "_unparsed_identifier", None)
    if not isinstance(name, str):
        raise NotImplementedError(
            "partitions by an expression are not supported by the local engine (Sail): add a column with "
            "its value, and partition by that"
        )
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def _create_table(original: Any) -> Any:
    def create_table(
        self: Any,
        tableName: str,  # noqa: N803 - pyspark's own name
        path: Optional[str] = None,
        source: Optional[str] = None,
        schema: Any = None,
        description: Optional[str] = None,
        **options: str,
    ) -> Any:
        session, path = self._sparkSession, path or _option(dict(options), "path")
        if schema is None and path is not None:
            # The engine wants columns; by SQL it takes those of the files that are there.
            place = path.replace("\\", "\\\\").replace("'", "\\'")
            session.sql(f"CREATE TABLE {tableName} USING {source or 'delta'} LOCATION '{place}'")
        elif schema is not None and path is None and (source or "delta").lower() == "delta":
            frame = session.createDataFrame([], schema)
            saved = _save(session, frame._plan, table=tableName, mode="error", comment=description)
            if not saved:
                original(self, tableName, path, source, schema, description, **options)
        else:
            original(self, tableName, path, source, schema, description, **options)
        settle()
        # What the engine gives here can be made, not read.
        return session.table(tableName)

    return create_table


# ---- patches -----------------------------------------------------------------------------------------------


def around(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Puts what `make` makes of a method in its place."""
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(make(original)))


def refuse(owner: Any, name: str, reason: str) -> None:
    """Lets a method raise `reason` and nothing else."""

    def refused(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(reason)

    around(owner, name, lambda _: refused)


def install(ask: Ask) -> None:
    """Patches the client classes of this process; `ask` sends what is asked and waits for the answer."""
    global _ask
    from pyspark.sql.connect.catalog import Catalog
    from pyspark.sql.connect.readwriter import DataFrameWriter, DataFrameWriterV2

    _ask = ask
    around(DataFrameWriter, "saveAsTable", _save_as_table)
    around(DataFrameWriterV2, "create", _v2("error"))
    around(DataFrameWriterV2, "replace", _v2("replace"))
    around(DataFrameWriterV2, "createOrReplace", _v2("create_or_replace"))
    around(Catalog, "createTable", _create_table)
    part = (
        "is not supported by the local engine (Sail): delete the rows by "
        'spark.sql("DELETE FROM t WHERE …"), then writeTo(t).append()'
    )
    refuse(DataFrameWriterV2, "overwrite", f"writeTo(t).overwrite(condition) {part}")
    refuse(DataFrameWriterV2, "overwritePartitions", f"writeTo(t).overwritePartitions() {part}")
    for name in ("cacheTable", "uncacheTable", "clearCache", "isCached", "refreshTable", "refreshByPath"):
        refuse(
            Catalog,
            name,
            f"catalog.{name} is not supported by the local engine (Sail), which caches no tables",
        )
    refuse(
        Catalog,
        "recoverPartitions",
        "catalog.recoverPartitions is not supported by the local engine (Sail): a Delta table needs none",
    )
