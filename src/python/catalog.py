"""What the session's catalogue knows: names of databases, tables and views, and what is behind a name.

Here: the answers to a list of tables, and how one table is described. Not here: which tables a pattern means
and what a page of them holds, which is for who asks. No rows are read. How the text is loaded stands in
cell.py.
"""

import contextlib
import re
import time
from collections.abc import Mapping
from typing import Any, Optional

# The database of the views that all sessions of one application see.
GLOBAL_TEMP = "global_temp"
# Names of our own views begin so; nobody is to see them.
OURS = "sparklease_"
# How Spark and others say that a name stands for nothing.
_MISSING = re.compile(r"NOT_FOUND|not found|cannot be found|no such", re.I)


def quoted(name: str) -> str:
    """An identifier as SQL reads it, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def path_of(database: str, name: str) -> str:
    """A table's name as SQL reads it; a temp view is in no database."""
    return f"{quoted(database)}.{quoted(name)}" if database else quoted(name)


# ---- names -------------------------------------------------------------------------------------------------


def databases(spark: Any) -> list[str]:
    """All of the current catalogue."""
    return [_bare(str(row[0])) for row in spark.sql("SHOW DATABASES").collect()]


def names(spark: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Every database; every table as database, name and whether it is a view; the session's temp views."""
    until = time.monotonic() + float(request["seconds"])
    found, failed, tables = databases(spark), [], []
    for at, database in enumerate(found):
        if time.monotonic() > until:
            failed += found[at:]
            break
        try:
            rows = spark.sql(f"SHOW TABLES IN {quoted(database)}").collect()
        except Exception:
            # One that may not be looked into, or went away; the others are still there.
            failed.append(database)
            continue
        views = _views(spark, database)
        tables += [[database, row[1], row[1] in views] for row in rows if not row[2]]
    return {"databases": found, "tables": tables, "views": _temp_views(spark), "failed": failed}


def _bare(name: str) -> str:
    """Spark quotes names of databases where SQL would need it."""
    if len(name) > 2 and name[0] == name[-1] == "`":
        return name[1:-1].replace("``", "`")
    return name


def _views(spark: Any, database: str) -> set[str]:
    """Names of views that the catalogue keeps; catalogues that are not Spark's own may not tell."""
    with contextlib.suppress(Exception):
        rows = [row.asDict() for row in spark.sql(f"SHOW VIEWS IN {quoted(database)}").collect()]
        return {row.get("viewName", row.get("tableName")) for row in rows if not row["isTemporary"]}
    return set()


def _temp_views(spark: Any) -> list[list[str]]:
    with contextlib.suppress(Exception):
        # This database lists the session's own too, and asks no catalogue for anything.
        rows = spark.sql(f"SHOW TABLES IN {GLOBAL_TEMP}").collect()
        return [
            [GLOBAL_TEMP if row[0] else "", row[1]]
            for row in rows
            if row[2] and not str(row[1]).startswith(OURS)
        ]
    return []


# ---- tables ------------------------------------------------------------------------------------------------


def details(spark: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of each table asked for: null where time was up before, empty where it cannot be read."""
    until = time.monotonic() + float(request["seconds"])
    found: list[Optional[dict[str, Any]]] = []
    for database, name in request["tables"]:
        if time.monotonic() > until:
            found.append(None)
            continue
        try:
            found.append(_details(spark, database, name, request["detail"]))
        except Exception:
            found.append({})
    return {"tables": found}


def _details(spark: Any, database: str, name: str, detail: str) -> dict[str, Any]:
    path = path_of(database, name)
    temporary = database in ("", GLOBAL_TEMP)
    table = {} if temporary else described(spark, path)
    if detail != "names":
        table["columns"] = columns(spark.table(path).schema)
    if detail == "stats" and not temporary:
        table.update(_sizes(spark, path, table))
    table.pop("statistics", None)
    return table


def columns(schema: Any) -> list[dict[str, Any]]:
    """Name, type, comment and whether it may hold NULL, of each field."""
    return [
        {
            "name": field.name,
            "type": field.dataType.simpleString(),
            "comment": (field.metadata or {}).get("comment"),
            "nullable": bool(field.nullable),
        }
        for field in schema.fields
    ]


def found(spark: Any, path: str) -> Optional[dict[str, Any]]:
    """What `described` tells; None for a name that stands for nothing."""
    try:
        return described(spark, path)
    except Exception as error:
        if _MISSING.search(str(error)):
            return None
        raise


def described(spark: Any, path: str) -> dict[str, Any]:
    """Kind, format, comment, location and partition columns of a table that the catalogue keeps."""
    rows = [(row[0] or "", row[1] or "") for row in spark.sql(f"DESCRIBE TABLE EXTENDED {path}").collect()]
    table: dict[str, Any] = {
        "kind": None,
        "format": None,
        "comment": None,
        "location": None,
        "partitions": [],
    }
    section = ""
    for key, value in rows:
        if key.startswith("# ") and key != "# col_name":
            section = key
        elif not key:
            section = "" if section.startswith("# Part") else section
        elif section == "# Partition Information" and key != "# col_name":
            table["partitions"].append(key)
        elif section == "# Partitioning" and key.startswith("Part "):
            table["partitions"].append(_bare(value))
        elif section == "# Detailed Table Information":
            _detail(table, key, value)
    return table


def _detail(table: dict[str, Any], key: str, value: str) -> None:
    name = {"Provider": "format", "Comment": "comment", "Location": "location", "Statistics": "statistics"}
    if key == "Type":
        # MANAGED, EXTERNAL or VIEW; a materialised one is a view to its reader.
        table["kind"] = "view" if "VIEW" in value.upper() else value.lower()
    elif key in name and value:
        table[name[key]] = value.lower() if key == "Provider" else value


def _sizes(spark: Any, path: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes and rows as far as they are written down somewhere; nothing is counted."""
    if table.get("format") == "delta":
        with contextlib.suppress(Exception):
            row = spark.sql(f"DESCRIBE DETAIL {path}").collect()[0].asDict()
            return {"bytes": row["sizeInBytes"], "partitions": list(row["partitionColumns"] or ())}
    match = re.match(r"(\d+) bytes(?:, (\d+) rows)?", table.get("statistics") or "")
    if not match:
        return {}
    return {"bytes": int(match[1]), "rows": int(match[2]) if match[2] else None}
