"""A variable of the kept namespace as a temp view: Spark, pandas and pyarrow frames.

Here: which variables are frames, and their values exactly (no nanosecond is dropped silently, naive times
stay naive). Not here: what becomes of the view. How the text is loaded stands in cell.py.
"""

import difflib
from collections.abc import Mapping
from typing import Any, Optional

# More names than this help no reader.
NAMES_SHOWN = 20


class NoFrameError(Exception):
    """There is no frame of that name."""


def to_view(names: Mapping[str, Any], variable: str, view: str) -> None:
    """Makes the variable a temp view of the session in `names["spark"]`."""
    value = names.get(variable)
    kind = kind_of(value)
    if kind is None:
        raise NoFrameError(_missing(names, variable, value))
    if kind == "spark":
        value.createOrReplaceTempView(view)
        return
    _frame(names["spark"], value, kind).createOrReplaceTempView(view)


def kind_of(value: Any) -> Optional[str]:
    """`spark`, `pandas` or `arrow`; None for what is no frame."""
    for kind in type(value).__mro__:
        root = (kind.__module__ or "").split(".")[0]
        if root == "pyspark" and kind.__name__ == "DataFrame":
            return "spark"
        if root == "pandas" and kind.__name__ == "DataFrame":
            return "pandas"
        if root == "pyarrow" and kind.__name__ == "Table":
            return "arrow"
    return None


def _missing(names: Mapping[str, Any], variable: str, value: Any) -> str:
    frames = sorted(name for name, kept in names.items() if not name.startswith("_") and kind_of(kept))
    there = ", ".join(frames[:NAMES_SHOWN]) if frames else "none"
    more = f" and {len(frames) - NAMES_SHOWN} more" if len(frames) > NAMES_SHOWN else ""
    near = difflib.get_close_matches(variable, frames, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    what = (
        f"the variable {variable} is no frame but {type(value).__name__}"
        if variable in names
        else f"the session has no variable {variable}"
    )
    return f"{what}{guess}; its frames are: {there}{more}"


def _frame(spark: Any, value: Any, kind: str) -> Any:
    """A Spark frame of it. A session without pyarrow has pandas' own way, which knows no naive times."""
    try:
        table = _arrow(value, kind)
    except ImportError:
        return spark.createDataFrame(value)
    return _of_arrow(spark, table)


def _arrow(value: Any, kind: str) -> Any:
    import pyarrow as pa

    if kind == "arrow":
        return value
    columns = [str(name) for name in value.columns]
    value = value.set_axis(columns, axis=1)
    return pa.Table.from_pandas(value, preserve_index=False)


def _of_arrow(spark: Any, table: Any) -> Any:
    """A Spark frame of the table; what Spark has no type for becomes the nearest one that loses nothing."""
    import pyarrow as pa
    from pyspark.sql.pandas.types import from_arrow_schema

    fields = [pa.field(field.name, _spark_type(field.type)) for field in table.schema]
    table = table.cast(pa.schema(fields), safe=True)
    schema = from_arrow_schema(table.schema, prefer_timestamp_ntz=True)
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        return spark.createDataFrame(table, schema)
    # Classic Spark takes a table of Arrow since version 4 only; Python's own values it takes always.
    columns = [
        [_value(item, field.dataType) for item in column.to_pylist()]
        for column, field in zip(table.columns, schema.fields)
    ]
    return spark.createDataFrame(list(zip(*columns)), schema)


def _value(item: Any, kind: Any) -> Any:
    """pyarrow's Python value as Spark takes it: maps are dicts, structs are tuples."""
    name = type(kind).__name__
    if item is None:
        return None
    if name == "MapType":
        return {_value(key, kind.keyType): _value(value, kind.valueType) for key, value in item}
    if name == "ArrayType":
        return [_value(part, kind.elementType) for part in item]
    if name == "StructType":
        return tuple(_value(item[field.name], field.dataType) for field in kind.fields)
    return item


def _spark_type(kind: Any) -> Any:
    import pyarrow as pa

    types = pa.types
    if types.is_timestamp(kind):
        return pa.timestamp("us", None if kind.tz is None else "UTC")
    if types.is_dictionary(kind):
        return _spark_type(kind.value_type)
    if types.is_null(kind):
        return pa.string()
    if types.is_large_string(kind) or str(kind) == "string_view":
        return pa.string()
    if types.is_large_binary(kind) or types.is_fixed_size_binary(kind) or str(kind) == "binary_view":
        return pa.binary()
    if types.is_date64(kind):
        return pa.date32()
    if types.is_float16(kind):
        return pa.float32()
    wider = {"uint8": pa.int16(), "uint16": pa.int32(), "uint32": pa.int64(), "uint64": pa.decimal128(20, 0)}
    if str(kind) in wider:
        return wider[str(kind)]
    if types.is_map(kind):
        return pa.map_(_spark_type(kind.key_type), _spark_type(kind.item_type))
    if types.is_struct(kind):
        parts = (kind.field(place) for place in range(kind.num_fields))
        return pa.struct([pa.field(part.name, _spark_type(part.type)) for part in parts])
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(_spark_type(kind.value_type))
    return kind
