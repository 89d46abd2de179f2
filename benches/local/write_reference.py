"""The references for writing a table: `deltalake`, and the engine's own saveAsTable, in one process.

Started with a file that it makes: Parquet, 1,000,000 rows of 6 columns. Then one line of stdin is one write
of that file into a new table, `deltalake` or `saveAsTable`; each answer is one line: the rows of the table
and the seconds, measured here so that no pipe counts. Ends with its stdin.
"""

import datetime
import os
import sys
import time
from pathlib import Path

# The engine's own catalogue, in memory: the one of the server that was measured is gone.
os.environ.pop("SAIL_CATALOG__LIST", None)

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from pysail.spark import SparkConnectServer
from pyspark.sql import SparkSession

ROWS = 1_000_000
source = Path(sys.argv[1])
folder = source.parent / "references"
server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
_, port = server.listening_address
spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
spark.conf.set("spark.sql.warehouse.dir", str(folder / "warehouse"))


def make() -> None:
    ids = pa.array(range(ROWS), pa.int64())
    small = pc.cast(pc.bit_wise_and(ids, 1023), pa.int32())
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
    table = pa.table(
        {
            "id": ids,
            "k": small,
            "price": pc.divide(pc.cast(ids, pa.float64()), 7.0),
            "name": pc.binary_join_element_wise("name", pc.cast(ids, pa.string()), "-"),
            "day": pc.cast(pc.cast(pc.add(small, 19_000), pa.int32()), pa.date32()),
            "at": pc.add(pa.scalar(start, pa.timestamp("us", "UTC")), pc.cast(ids, pa.duration("us"))),
        }
    )
    pq.write_table(table, source)


folder.mkdir()
make()
print("made", flush=True)
for number, line in enumerate(sys.stdin):
    begun = time.perf_counter()
    if line.strip() == "deltalake":
        write_deltalake(str(folder / f"d{number}"), pq.read_table(source))
        took = time.perf_counter() - begun
        rows = DeltaTable(str(folder / f"d{number}")).count()
    else:
        spark.read.parquet(str(source)).write.format("delta").saveAsTable(f"t{number}")
        took = time.perf_counter() - begun
        rows = spark.table(f"t{number}").count()
    print(rows, took, flush=True)
# Not a normal exit: pyspark would look for its server, which is gone by then.
os._exit(0)
