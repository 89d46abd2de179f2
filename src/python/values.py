"""Exact cells: the text of single values as the envelope carries them, and Spark's type names for Python
values.

Here: dates, instants, durations, decimals, floats and nested Python values. Not here: columns and frames
(tables.py). Standard library only, Python 3.9 and later; how the text is loaded stands in cell.py.
"""

import base64
import contextlib
import datetime as dt
import decimal
import json
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional, Union
from zoneinfo import ZoneInfo

# Bound before user code can replace json.dumps. Every NaN has become text before it gets here.
encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode

Zone = Optional[dt.tzinfo]
_EPOCH_ORDINAL = dt.date(1970, 1, 1).toordinal()
# 0001-01-02 and 9999-12-30: the range in which a zone's offset can be asked for.
_FIRST_SECOND, _LAST_SECOND = -62135510400, 253402128000
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def date_text(days: int) -> str:
    """Days since 1970-01-01; years that datetime cannot hold too (civil-from-days, 400-year eras)."""
    ordinal = days + _EPOCH_ORDINAL
    if 1 <= ordinal <= dt.date.max.toordinal():
        return dt.date.fromordinal(ordinal).isoformat()
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    month = month + 3 if month < 10 else month - 9
    year += era * 400 + (month <= 2)
    sign = "+" if year > 9999 else "-" if year < 0 else ""
    return f"{sign}{abs(year):04d}-{month:02d}-{day:02d}"


def _clock_text(seconds: int, fraction: int, per_second: int) -> str:
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if fraction:
        nanos = f".{fraction * 10**9 // per_second:09d}"
        text += nanos[:-3] if nanos.endswith("000") else nanos
    return text


def _offset_text(offset: int) -> str:
    sign, offset = ("-", -offset) if offset < 0 else ("+", offset)
    text = f"{sign}{offset // 3600:02d}:{offset // 60 % 60:02d}"
    return text if offset % 60 == 0 else f"{text}:{offset % 60:02d}"


def timestamp_text(value: int, per_second: int, zone: Zone) -> str:
    """`value` counts from the epoch; with a zone it is an instant, without one a wall-clock reading."""
    seconds, fraction = divmod(value, per_second)
    offset = 0
    if zone is not None:
        asked = min(max(seconds, _FIRST_SECOND), _LAST_SECOND)
        offset = int((dt.datetime.fromtimestamp(asked, zone).utcoffset() or dt.timedelta()).total_seconds())
    days, rest = divmod(seconds + offset, 86_400)
    text = f"{date_text(days)} {_clock_text(rest, fraction, per_second)}"
    return text if zone is None else text + _offset_text(offset)


def duration_text(value: int, per_second: int) -> str:
    sign, value = ("-", -value) if value < 0 else ("", value)
    seconds, fraction = divmod(value, per_second)
    return f"{sign}{seconds // 86_400} {_clock_text(seconds % 86_400, fraction, per_second)}"


def _micros(value: dt.timedelta) -> int:
    return (value.days * 86_400 + value.seconds) * 10**6 + value.microseconds


def float_cell(value: float) -> Union[float, str]:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def float32_cell(value: Optional[float]) -> Union[float, str, None]:
    """The shortest number that is this 32-bit float: 0.1, not 0.10000000149011612."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None if value is None else float_cell(value)
    packed = struct.pack("f", value)
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        with contextlib.suppress(OverflowError):
            if struct.pack("f", short) == packed:
                return short
    return value


def pairs_cell(pairs: Iterable[tuple[Any, Any]], named: bool = True) -> Any:
    """An object if the names are distinct strings, else a list of pairs, so that nothing is lost.

    Names that are no strings by their type are none here either, though their cells may be.
    """
    found = [(name, item) for name, item in pairs]
    if not named:
        return [[name, item] for name, item in found]
    names = [name for name, _ in found]
    if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
        return dict(found)
    return [[name, item] for name, item in found]


def value_cell(value: Any, zone: Zone = None) -> Any:
    """A Python value. `zone` is given where a datetime without one means an instant in local time."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, float):
        return float_cell(float(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, dt.datetime):
        if value.tzinfo is None and zone is not None:
            try:
                value = value.astimezone(zone)
            except (ValueError, OverflowError):
                # At both ends of the calendar Python cannot ask for the offset of local time.
                value = value.replace(tzinfo=zone)
        return value.isoformat(sep=" ")
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return duration_text(_micros(value), 10**6)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, tuple) and hasattr(value, "__fields__"):
        return pairs_cell((name, value_cell(item, zone)) for name, item in zip(value.__fields__, value))
    if isinstance(value, Mapping):
        return pairs_cell((value_cell(key, zone), value_cell(item, zone)) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [value_cell(item, zone) for item in value]
    if hasattr(value, "tolist"):
        # numpy scalars and arrays
        return value_cell(value.tolist(), zone)
    return str(value)


def _value_type(value: Any) -> str:
    """The kind of one value in Spark's words: "void" if it is missing, "array" and "map" unresolved."""
    if value is None or (isinstance(value, float) and value != value):
        return "void"
    if type(value).__name__ in ("NaTType", "NAType"):
        return "void"
    if isinstance(value, tuple) and hasattr(value, "__fields__"):
        fields = (f"{name}:{merged_type([item])}" for name, item in zip(value.__fields__, value))
        return f"struct<{','.join(fields)}>"
    name = next((name for kinds, name in _VALUE_TYPES if isinstance(value, kinds)), "string")
    if name == "bigint" and not -(2**63) <= value < 2**63:
        return "decimal"
    if name == "timestamp" and value.tzinfo is None:
        return "timestamp_ntz"
    return name


_VALUE_TYPES: list[tuple[Any, str]] = [
    (bool, "boolean"),
    (int, "bigint"),
    (float, "double"),
    (str, "string"),
    (decimal.Decimal, "decimal"),
    (dt.datetime, "timestamp"),
    (dt.date, "date"),
    (dt.timedelta, "interval day to second"),
    ((bytes, bytearray), "binary"),
    (Mapping, "map"),
    ((list, tuple, set, frozenset), "array"),
]


def plain(value: Any) -> Any:
    """numpy's scalars and arrays as Python's own."""
    return value.tolist() if hasattr(value, "dtype") and hasattr(value, "tolist") else value


def merged_type(values: Sequence[Any]) -> str:
    """The Spark type of several values: "string" if they share none, "void" if all are missing."""
    values = [value for value in map(plain, values) if _value_type(value) != "void"]
    kinds = {_value_type(value) for value in values}
    if kinds == {"array"}:
        return f"array<{merged_type([item for value in values for item in value])}>"
    if kinds == {"map"}:
        keys = merged_type([key for value in values for key in value])
        return f"map<{keys},{merged_type([item for value in values for item in value.values()])}>"
    if "decimal" in kinds and kinds <= {"decimal", "bigint"}:
        return _decimal_type(values)
    if kinds == {"bigint", "double"}:
        return "double"
    if len(kinds) == 1:
        return kinds.pop()
    return "string" if kinds else "void"


def _decimal_type(values: Sequence[Any]) -> str:
    parts = [decimal.Decimal(value).as_tuple() for value in values]
    exponents = [part.exponent for part in parts if isinstance(part.exponent, int)]
    scale = max((-exponent for exponent in exponents), default=0)
    scale = max(scale, 0)
    finite = [part for part in parts if isinstance(part.exponent, int)]
    whole = max((len(part.digits) + int(part.exponent) for part in finite), default=1)
    precision = max(whole, 0) + scale
    return f"decimal({precision or 1},{scale})" if precision <= 38 else "string"


def zone_of(name: str) -> dt.tzinfo:
    """The zone of a name: a region, `+08:00`, `GMT+8`; UTC where the host does not know it."""
    match = re.fullmatch(r"(?:GMT|UTC)?([+-])(\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?", name)
    if match:
        sign, hours, minutes, seconds = match.groups()
        offset = dt.timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
        return dt.timezone(-offset if sign == "-" else offset)
    # A host without a time zone database knows UTC only.
    with contextlib.suppress(Exception):
        return ZoneInfo(name)
    return dt.timezone.utc
