"""Typed tables: Spark, pandas and pyarrow frames as {columns, rows, truncated, index} with exact cells.

Here: columns by the type each library gives them, Spark's names for those types, the row and byte limits.
Not here: the text of single values (values.py). pandas and pyarrow are used only through objects that user
code made with them; how the text is loaded stands in cell.py.
"""

import decimal
import re
from collections.abc import Iterable
from typing import Any, Optional

from sparklease_values import (
    PER_SECOND,
    Zone,
    date_text,
    duration_text,
    encode,
    float32_cell,
    float_cell,
    merged_type,
    pairs_cell,
    plain,
    timestamp_text,
    value_cell,
    zone_of,
)


def _arrow_cells(array: Any, zone: Zone) -> list[Any]:
    """The cells of one pyarrow Array, without going through Python's narrower date and time types.

    `zone` replaces the zone of instants; None keeps the array's own.
    """
    import pyarrow as pa

    types, kind = pa.types, array.type

    def mapped(values: Any, text: Any) -> list[Any]:
        return [None if value is None else text(value) for value in values.to_pylist()]

    if types.is_interval(kind):
        return mapped(array, lambda value: "{} months {} days {} nanoseconds".format(*value))
    if hasattr(kind, "storage_type"):
        return _arrow_cells(array.storage, zone)
    if types.is_dictionary(kind):
        return _arrow_cells(array.dictionary_decode(), zone)
    if types.is_floating(kind):
        return mapped(array, float32_cell if types.is_float32(kind) else float_cell)
    if types.is_decimal(kind):
        return mapped(array, lambda value: format(value, "f"))
    if types.is_date32(kind):
        return mapped(array.cast(pa.int32()), date_text)
    if types.is_date64(kind):
        return mapped(array.cast(pa.int64()), lambda value: date_text(value // 86_400_000))
    if types.is_duration(kind):
        return mapped(array.cast(pa.int64()), lambda value: duration_text(value, PER_SECOND[kind.unit]))
    if types.is_timestamp(kind):
        own = None if kind.tz is None else zone or zone_of(kind.tz)
        return mapped(array.cast(pa.int64()), lambda value: timestamp_text(value, PER_SECOND[kind.unit], own))
    if types.is_struct(kind):
        names = [kind.field(index).name for index in range(kind.num_fields)]
        parts = [_arrow_cells(part, zone) for part in array.flatten()]
        valid = array.is_valid().to_pylist()
        return [
            pairs_cell((name, part[row]) for name, part in zip(names, parts)) if valid[row] else None
            for row in range(len(array))
        ]
    if types.is_map(kind):
        named = types.is_string(kind.key_type) or types.is_large_string(kind.key_type)
        return [_arrow_map_cell(item.values, zone, named) if item.is_valid else None for item in array]
    if types.is_nested(kind):
        return [_arrow_cells(item.values, zone) if item.is_valid else None for item in array]
    return mapped(array, lambda value: value_cell(value, None))


def _arrow_map_cell(entries: Any, zone: Zone, named: bool) -> Any:
    keys, values = (_arrow_cells(part, zone) for part in entries.flatten())
    return pairs_cell(zip(keys, values), named)


_ARROW_TYPES = {
    "bool": "boolean", "int8": "tinyint", "int16": "smallint", "int32": "int", "int64": "bigint",
    "uint8": "smallint", "uint16": "int", "uint32": "bigint", "uint64": "decimal(20,0)",
    "halffloat": "float", "float": "float", "double": "double",
    "string": "string", "large_string": "string", "string_view": "string",
    "binary": "binary", "large_binary": "binary", "binary_view": "binary",
    "null": "void", "month_interval": "interval year to month",
}  # fmt: skip


def _arrow_type(kind: Any) -> str:
    import pyarrow as pa

    types = pa.types
    if hasattr(kind, "storage_type"):
        return _arrow_type(kind.storage_type)
    if types.is_dictionary(kind):
        return _arrow_type(kind.value_type)
    if types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if types.is_date(kind):
        return "date"
    if types.is_timestamp(kind):
        return "timestamp_ntz" if kind.tz is None else "timestamp"
    if types.is_duration(kind):
        return "interval day to second"
    if types.is_fixed_size_binary(kind):
        return "binary"
    if types.is_struct(kind):
        fields = (kind.field(index) for index in range(kind.num_fields))
        return "struct<" + ",".join(f"{field.name}:{_arrow_type(field.type)}" for field in fields) + ">"
    if types.is_map(kind):
        return f"map<{_arrow_type(kind.key_type)},{_arrow_type(kind.item_type)}>"
    if types.is_nested(kind):
        return f"array<{_arrow_type(kind.value_type)}>"
    return _ARROW_TYPES.get(str(kind), "string")


class _Column:
    def __init__(self, name: Any, kind: str, cells: list[Any]) -> None:
        self.name, self.kind, self.cells = name if isinstance(name, str) else str(name), kind, cells


def _arrow_column(name: Any, array: Any, kind: Optional[str] = None, zone: Zone = None) -> _Column:
    cells = [cell for chunk in getattr(array, "chunks", [array]) for cell in _arrow_cells(chunk, zone)]
    kind = kind or _arrow_type(array.type)
    if kind == "decimal(20,0)":
        # Arrow's uint64 has no Spark type of its own; decimals are text.
        cells = [None if cell is None else str(cell) for cell in cells]
    return _Column(name, kind, cells)


_PANDAS_TYPES = {
    "bool": "boolean", "boolean": "boolean", "int8": "tinyint", "int16": "smallint", "int32": "int",
    "int64": "bigint", "uint8": "smallint", "uint16": "int", "uint32": "bigint", "uint64": "decimal(20,0)",
    "float16": "float", "float32": "float", "float64": "double",
}  # fmt: skip


def _pandas_column(name: Any, series: Any) -> _Column:
    """A pandas Series by its dtype. NaN of a float column stays NaN: pandas does not say what it meant."""
    dtype = series.dtype
    label, code = str(dtype).lower(), getattr(dtype, "kind", "O")
    if label.endswith("[pyarrow]"):
        return _arrow_column(name, series.array.__arrow_array__())
    missing = series.isna().tolist()
    if code in "mM" and hasattr(series.array, "asi8"):
        per_second = PER_SECOND[getattr(series.array, "unit", "ns")]
        zone = getattr(series.array, "tz", None)
        counts = [None if gone else count for gone, count in zip(missing, series.array.asi8.tolist())]
        if code == "m":
            texts = [None if count is None else duration_text(count, per_second) for count in counts]
            return _Column(name, "interval day to second", texts)
        texts = [None if count is None else timestamp_text(count, per_second, zone) for count in counts]
        return _Column(name, "timestamp_ntz" if zone is None else "timestamp", texts)
    values = series.astype(object).tolist()
    kind = _PANDAS_TYPES.get(label)
    if kind is None:
        return _value_column(name, [None if gone is True else value for gone, value in zip(missing, values)])
    if kind in ("float", "double"):
        cell = float32_cell if kind == "float" else value_cell
        values = [value if isinstance(value, float) else None if gone else float(value)
                  for gone, value in zip(missing, values)]  # fmt: skip
        return _Column(name, kind, [cell(value) for value in values])
    cells = [None if gone else value_cell(value) for gone, value in zip(missing, values)]
    if kind.startswith("decimal"):
        cells = [None if cell is None else str(cell) for cell in cells]
    return _Column(name, kind, cells)


def _value_column(name: Any, values: list[Any]) -> _Column:
    """Python objects: one Spark type if they have one in common, else text."""
    values = [plain(value) for value in values]
    kind = merged_type(values)
    match = re.fullmatch(r"decimal\(\d+,(\d+)\)", kind)
    if match:
        return _Column(
            name, kind, [None if value is None else _decimal_text(value, match[1]) for value in values]
        )
    if kind == "string":
        return _Column(name, kind, [value if value is None or isinstance(value, str) else str(value)
                                    for value in values])  # fmt: skip
    return _Column(name, kind, [value_cell(value) for value in values])


def _decimal_text(value: Any, scale: str) -> str:
    value = value if isinstance(value, decimal.Decimal) else decimal.Decimal(int(value))
    return format(value, f".{scale}f") if value.is_finite() else str(value)


# ---- frames ------------------------------------------------------------------------------------------------


class Budget:
    """What one envelope may still carry: rows per table, bytes of rows over all tables."""

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self.max_rows, self.bytes_left = max_rows, max_bytes


def table_of(value: Any, budget: Budget) -> Optional[dict[str, Any]]:
    """The typed table of a Spark, pandas or pyarrow frame; None for anything else.

    `index` says how many of the first columns are a pandas index (null: none worth showing).
    Runs the query of a lazy frame, for at most `max_rows + 1` rows.
    """
    kinds = {(kind.__module__.split(".")[0], kind.__name__): kind.__module__ for kind in type(value).__mro__}
    most = budget.max_rows + 1
    index = None
    if kinds.get(("pyspark", "DataFrame"), "").startswith("pyspark.sql"):
        if getattr(value, "isStreaming", False) or not value.columns:
            return None
        columns = _spark_columns(value, most)
    elif kinds.get(("pyspark", "DataFrame"), "").startswith("pyspark.pandas"):
        index, columns = _pandas_columns(value.head(most).to_pandas())
    elif ("pandas", "DataFrame") in kinds:
        index, columns = _pandas_columns(value.head(most))
    elif ("pandas", "Series") in kinds:
        index, columns = _pandas_columns(
            value.head(most).to_frame("value" if value.name is None else value.name)
        )
    elif ("pyarrow", "Table") in kinds or ("pyarrow", "RecordBatch") in kinds:
        part = value.slice(0, most)
        columns = [_arrow_column(field.name, part.column(at)) for at, field in enumerate(part.schema)]
    else:
        return None
    return _table(columns, index, budget)


def _spark_columns(frame: Any, most: int) -> list[_Column]:
    limited = frame.limit(most)
    fields = frame.schema.fields
    kinds = [field.dataType.simpleString() for field in fields]
    if hasattr(limited, "_to_table"):
        # Spark Connect: Arrow as it came over the wire, before pandas or datetime narrow it.
        arrow, _ = _without_months(limited, kinds)._to_table()
        zone = _session_zone(frame, kinds)
        return [
            _arrow_column(field.name, arrow.column(at), kinds[at], zone) for at, field in enumerate(fields)
        ]
    # Classic Spark gives datetimes in the local time of this process; pyarrow may be missing there.
    shown = _without_months(frame, kinds)
    types = [field.dataType for field in shown.schema.fields]
    rows, zone = shown.take(most), _session_zone(frame, kinds)
    return [
        _Column(field.name, kinds[at], [_classic_cell(row[at], types[at], zone) for row in rows])
        for at, field in enumerate(fields)
    ]


def _classic_cell(value: Any, kind: Any, zone: Zone) -> Any:
    """A value by its Spark type: a Python float does not say that it has 32 bits, nor a datetime whether it
    is an instant."""
    if value is None:
        return None
    name = type(kind).__name__
    if name == "FloatType":
        return float32_cell(value)
    if name == "TimestampType":
        return value_cell(value, zone)
    if name == "ArrayType":
        return [_classic_cell(item, kind.elementType, zone) for item in value]
    if name == "MapType":
        pairs = (
            (_classic_cell(key, kind.keyType, zone), _classic_cell(item, kind.valueType, zone))
            for key, item in value.items()
        )
        return pairs_cell(pairs, type(kind.keyType).__name__ in ("StringType", "CharType", "VarcharType"))
    if name == "StructType" and isinstance(value, tuple):
        return pairs_cell(
            (field.name, _classic_cell(item, field.dataType, zone)) for field, item in zip(kind.fields, value)
        )
    return value_cell(value)


def _without_months(frame: Any, kinds: list[str]) -> Any:
    """The frame with intervals that hold months as text: Arrow has them, pyarrow and classic Spark's client
    cannot touch them."""
    texts = ("interval year", "interval month")
    months = {at for at, kind in enumerate(kinds) if kind.startswith(texts) or kind == "interval"}
    if not months:
        return frame
    # By position, since names may be doubled.
    numbered = frame.toDF(*(f"c{at}" for at in range(len(kinds))))
    return numbered.selectExpr(
        *(f"cast(c{at} as string)" if at in months else f"c{at}" for at in range(len(kinds)))
    )


def _session_zone(frame: Any, kinds: Iterable[str]) -> Zone:
    if not any("timestamp" in kind for kind in kinds):
        return None
    return zone_of(frame.sparkSession.conf.get("spark.sql.session.timeZone"))


def _pandas_columns(frame: Any) -> tuple[Optional[int], list[_Column]]:
    columns = [_pandas_column(frame.columns[at], frame.iloc[:, at]) for at in range(frame.shape[1])]
    index = frame.index
    if type(index).__name__ == "RangeIndex" and index.name is None and index.start == 0 and index.step == 1:
        return None, columns
    levels = []
    for level in range(index.nlevels):
        name = index.names[level]
        default = "index" if index.nlevels == 1 else f"level_{level}"
        levels.append(
            _pandas_column(default if name is None else name, index.get_level_values(level).to_series())
        )
    return len(levels), levels + columns


def _table(columns: list[_Column], index: Optional[int], budget: Budget) -> dict[str, Any]:
    total = len(columns[0].cells) if columns else 0
    rows: list[Any] = []
    for row in zip(*(column.cells for column in columns)):
        size = len(encode(row)) + 1
        if len(rows) == budget.max_rows or size > budget.bytes_left:
            break
        budget.bytes_left -= size
        rows.append(row)
    named = [{"name": column.name, "type": column.kind} for column in columns]
    return {"columns": named, "rows": rows, "truncated": len(rows) < total, "index": index}
