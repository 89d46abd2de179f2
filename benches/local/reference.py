"""The reference of the benches: one process with pysail and pyspark-client and nothing of ours.

Started with a first query; then one query per line of stdin. Each answer is one line: the rows, the first
cell and the seconds of `spark.sql(…).collect()`, measured here so that no pipe counts. Ends with its stdin.
"""

import os
import sys
import time

from pysail.spark import SparkConnectServer

server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
_, port = server.listening_address

from pyspark.sql import SparkSession  # noqa: E402 (the server listens first, as in our worker)

spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()


def answer(text: str) -> None:
    begun = time.perf_counter()
    rows = spark.sql(text).collect()
    took = time.perf_counter() - begun
    print(len(rows), rows[0][0], took, flush=True)


answer(sys.argv[1])
for line in sys.stdin:
    answer(line)
# Not a normal exit: pyspark would look for its server, which is gone by then.
os._exit(0)
