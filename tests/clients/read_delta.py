"""Reads a Delta table with `deltalake`, which shares no code with the engine, and prints it as JSON.

`read_delta.py FOLDER KEY`: the version, the columns, and the rows in the order of the column KEY, each
value as Python shows it, so that nothing is rounded on the way.
"""

import json
import sys

from deltalake import DeltaTable, QueryBuilder


def main() -> None:
    folder, key = sys.argv[1:]
    table = DeltaTable(folder)
    query = f'select * from t order by "{key}" nulls last'
    batches = QueryBuilder().register("t", table).execute(query).read_all()
    names = batches.column_names
    columns = [batches[name].to_pylist() for name in names]
    rows = [[repr(value) for value in row] for row in zip(*columns)]
    print(json.dumps({"version": table.version(), "columns": names, "rows": rows}))


if __name__ == "__main__":
    main()
