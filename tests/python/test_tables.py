"""What a session's catalogue is asked, and how rows of a write become Python's values: without a Spark.

What needs an engine is in tests/it/livy.
"""

import base64
import datetime as dt
import decimal
import json
import math
import sys
import unittest
import zlib
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "python"
FILES = ("values", "tables", "frames", "streams", "cell", "catalog", "write")


def load():
    for name in FILES:
        module = type(sys)(f"sparklease_{name}")
        sys.modules[module.__name__] = module
        text = (SOURCE / f"{name}.py").read_text("utf-8")
        exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    return sys.modules["sparklease_catalog"], sys.modules["sparklease_write"]


class Row(tuple):
    def asDict(self):
        return dict(zip(self.names, self))


def row(**cells):
    made = Row(cells.values())
    made.names = list(cells)
    return made


class Frame:
    def __init__(self, rows):
        self.rows = rows

    def collect(self):
        return self.rows


class Spark:
    """Answers texts with rows, and raises what it was told to raise."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def sql(self, text):
        self.asked.append(text)
        answer = self.answers.get(text, ValueError(f"[TABLE_OR_VIEW_NOT_FOUND] {text}"))
        if isinstance(answer, Exception):
            raise answer
        return Frame(answer)


class Catalog(unittest.TestCase):
    def setUp(self):
        self.catalog, _ = load()

    def test_names_of_every_database_are_told_and_what_cannot_be_read_is_counted(self):
        table = lambda database, name, temp=False: row(  # noqa: E731
            namespace=database, tableName=name, isTemporary=temp
        )
        spark = Spark(
            {
                "SHOW DATABASES": [row(namespace="default"), row(namespace="`a.b`"), row(namespace="closed")],
                "SHOW TABLES IN `default`": [table("default", "t"), table("", "mine", True)],
                "SHOW TABLES IN `a.b`": [table("a.b", "c`d"), table("a.b", "v")],
                "SHOW TABLES IN `closed`": PermissionError("no"),
                "SHOW VIEWS IN `a.b`": [row(namespace="a.b", viewName="v", isTemporary=False)],
                "SHOW TABLES IN global_temp": [
                    table("global_temp", "ours", True),
                    table("", "mine", True),
                    table("", "sparklease_x", True),
                ],
            }
        )
        self.assertEqual(
            self.catalog.names(spark, {"seconds": 60}),
            {
                "databases": ["default", "a.b", "closed"],
                "tables": [["default", "t", False], ["a.b", "c`d", False], ["a.b", "v", True]],
                "views": [["global_temp", "ours"], ["", "mine"]],
                "failed": ["closed"],
            },
        )
        late = self.catalog.names(spark, {"seconds": -1})
        self.assertEqual((late["tables"], late["failed"]), ([], ["default", "a.b", "closed"]))

    def test_a_table_is_described_from_both_forms_that_spark_has(self):
        cell = lambda key, value="": row(col_name=key, data_type=value, comment=None)  # noqa: E731
        first = [
            cell("id", "bigint"),
            cell("p", "string"),
            cell("# Partition Information"),
            cell("# col_name", "data_type"),
            cell("p", "string"),
            cell(""),
            cell("# Detailed Table Information"),
            cell("Type", "MANAGED"),
            cell("Provider", "Delta"),
            cell("Comment", "it's"),
            cell("Location", "file:/x"),
            cell("Statistics", "12 bytes, 3 rows"),
        ]
        second = [
            cell("id", "bigint"),
            cell("# Partitioning"),
            cell("Part 0", "`p.q`"),
            cell(""),
            cell("# Detailed Table Information"),
            cell("Type", "EXTERNAL"),
        ]
        spark = Spark({"DESCRIBE TABLE EXTENDED `d`.`a`": first, "DESCRIBE TABLE EXTENDED `d`.`b`": second})
        found = self.catalog.described(spark, "`d`.`a`")
        self.assertEqual(
            [found[key] for key in ("kind", "format", "comment", "partitions", "location")],
            ["managed", "delta", "it's", ["p"], "file:/x"],
        )
        found = self.catalog.described(spark, "`d`.`b`")
        self.assertEqual((found["kind"], found["partitions"]), ("external", ["p.q"]))
        self.assertIsNone(self.catalog.found(spark, "`d`.`nothing`"))
        spark.answers["DESCRIBE TABLE EXTENDED `d`.`bad`"] = ValueError("permission denied")
        with self.assertRaises(ValueError):
            self.catalog.found(spark, "`d`.`bad`")

    def test_details_end_in_time_and_go_over_what_cannot_be_read(self):
        answer = self.catalog.details(
            Spark({}), {"tables": [["d", "gone"]], "detail": "names", "seconds": 60}
        )
        self.assertEqual(answer, {"tables": [{}]})
        answer = self.catalog.details(
            Spark({}), {"tables": [["d", "late"]], "detail": "names", "seconds": -1}
        )
        self.assertEqual(answer, {"tables": [None]})


def kind(data_type, **parts):
    made = type(data_type, (), {})()
    made.__dict__.update(parts)
    return made


class Rows(unittest.TestCase):
    def setUp(self):
        _, self.write = load()

    def read(self, data_type, cell):
        return self.write.reader(data_type)(cell)

    def test_cells_become_the_exact_values_that_spark_takes(self):
        instant = dt.datetime(1850, 1, 1, 0, 0, 0, 1, dt.timezone.utc)
        zone = dt.timezone(dt.timedelta(hours=-3, minutes=-30))
        for data_type, cell, value in (
            ("LongType", 2**63 - 1, 2**63 - 1),
            ("DecimalType", "12345678901234567890.123456789012345678", None),
            ("DecimalType", 2**64 - 1, decimal.Decimal(2**64 - 1)),
            ("DoubleType", 1, 1.0),
            ("FloatType", "-Infinity", -math.inf),
            ("BinaryType", "AP8=", b"\x00\xff"),
            ("DateType", "0001-01-01", dt.date(1, 1, 1)),
            ("TimestampType", "1850-01-01 00:00:00.000001+00:00", instant),
            ("TimestampType", "2024-01-01 00:00:00-03:30", dt.datetime(2024, 1, 1, tzinfo=zone)),
            ("TimestampNTZType", "9999-12-31 23:59:59.5", dt.datetime(9999, 12, 31, 23, 59, 59, 500000)),
            ("StringType", "NaN", "NaN"),
            ("BooleanType", None, None),
        ):
            with self.subTest(data_type=data_type, cell=cell):
                expected = decimal.Decimal(cell) if value is None and cell else value
                self.assertEqual(self.read(kind(data_type), cell), expected)
        self.assertTrue(math.isnan(self.read(kind("DoubleType"), "NaN")))

    def test_nested_cells_are_read_from_objects_and_from_pairs(self):
        days = kind("ArrayType", elementType=kind("DateType"))
        field = lambda name, data_type: kind("StructField", name=name, dataType=data_type)  # noqa: E731
        struct = kind("StructType", fields=[field("a", kind("DecimalType")), field("a", days)])
        cell = [["a", "1.10"], ["a", ["2024-01-31", None]]]
        self.assertEqual(self.read(struct, cell), (decimal.Decimal("1.10"), [dt.date(2024, 1, 31), None]))
        words = kind("MapType", keyType=kind("StringType"), valueType=kind("LongType"))
        self.assertEqual(self.read(words, {"": 0, "x": None}), {"": 0, "x": None})
        numbers = kind("MapType", keyType=kind("LongType"), valueType=kind("BinaryType"))
        self.assertEqual(self.read(numbers, [[2, "AA=="], [1, None]]), {2: b"\x00", 1: None})

    def test_parts_are_put_together_and_another_write_starts_anew(self):
        pack = lambda rows: base64.b64encode(zlib.compress(json.dumps(rows).encode())).decode()  # noqa: E731
        stage = lambda first, rows, name="a": self.write.stage(  # noqa: E731
            None, {"id": name, "first": first, "rows": pack(rows)}
        )
        self.assertEqual(stage(True, [[1], [2]]), {"rows": 2})
        self.assertEqual(stage(False, [[3]]), {"rows": 3})
        self.assertEqual(stage(True, [[4]], "b"), {"rows": 1})


if __name__ == "__main__":
    unittest.main()
