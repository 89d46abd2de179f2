"""One SQL statement on the session's Spark: values are bound, rows become a typed table.

Here: what binding means for each client of Spark. Not here: how an answer is framed (repl.py), the cells of
a table (tables.py); how the text is loaded stands in cell.py.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

from sparklease_cell import Outputs

Params = Union[Mapping[str, Any], Sequence[Any], None]


def run(spark: Any, text: str, params: Params, outputs: Outputs) -> None:
    """Runs the text; a command has run when this returns, a query as far as its rows are asked for."""
    frame = spark.sql(text) if not params else spark.sql(text, args=_arguments(spark, params))
    # A command such as CREATE TABLE gives a frame without columns.
    if frame.columns:
        outputs.show_value(frame)


def _arguments(spark: Any, params: Params) -> Any:
    # Before Spark 3.4 `args` would be taken for a word to format into the text.
    if "args" not in inspect.signature(spark.sql).parameters:
        raise NotImplementedError("this Spark binds no values: it takes Spark 3.4 for :name and 3.5 for ?")
    if isinstance(params, Mapping):
        return {name: _bound(spark, value) for name, value in params.items()}
    return [_bound(spark, value) for value in params or ()]


def _bound(spark: Any, value: Any) -> Any:
    """A whole number is a BIGINT whatever its size; Spark would take a small one for an INT."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        return value
    literal = _bigint(spark, value)
    return value if literal is None else literal


def _bigint(spark: Any, value: int) -> Optional[Any]:
    try:
        if type(spark).__module__.startswith("pyspark.sql.connect"):
            from pyspark.sql.connect.column import Column
            from pyspark.sql.connect.expressions import LiteralExpression
            from pyspark.sql.types import LongType

            return Column(LiteralExpression(value, LongType()))
        from pyspark.sql.functions import expr

        return expr(f"{value}L")
    except Exception:
        # A client that we do not know: its own idea of the number's type is better than none.
        return None
