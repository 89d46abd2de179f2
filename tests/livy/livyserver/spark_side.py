"""Spark as the driver stand-in holds it: a server of Spark Connect, the session's SQL, the stop of its jobs.

Here: starting Sail (pysail) in this process or a JVM as a child, `kind: sql`, interrupts.
Not here: the interpreter, which is another process and uses the same session by its address.
"""

import contextlib
import ctypes
import datetime
import decimal
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Optional

# Statements whose answer a real server shows without columns; Sail shows a value.
DDL = re.compile(r"\s*(create|drop|alter|use|set|insert|refresh|cache|uncache|truncate)\b", re.I)


class SparkSide:
    """One engine and one session on it. `none` has neither."""

    def __init__(self, engine: str, max_rows: int) -> None:
        self.url = ""
        self._max_rows = max_rows
        self._lock = threading.Lock()
        self._session: Any = None
        self._server: Any = None
        self._jvm: Optional[subprocess.Popen[bytes]] = None
        if engine == "sail":
            self._start_sail()
        elif engine == "jvm":
            self._start_jvm()

    def _start_sail(self) -> None:
        os.environ.setdefault("RUST_LOG", "error")
        # With fewer threads an interrupt of a busy query can take a minute.
        os.environ.setdefault("TOKIO_WORKER_THREADS", str(max(4, (os.cpu_count() or 2) + 2)))
        from pysail.spark import SparkConnectServer

        self._server = SparkConnectServer("127.0.0.1", 0)
        self._server.start(background=True)
        self._address(self._server.listening_address[1])

    def _start_jvm(self) -> None:
        import pyspark

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        home = str(Path(pyspark.__file__).parent)
        work = str(Path.cwd())
        command = [f"{home}/bin/spark-submit", "--class"]
        command += ["org.apache.spark.sql.connect.service.SparkConnectServer", "--master", "local[2]"]
        for setting in (
            f"spark.connect.grpc.binding.port={port}",
            "spark.connect.grpc.binding.address=127.0.0.1",
            "spark.ui.enabled=false",
            "spark.driver.bindAddress=127.0.0.1",
            "spark.driver.host=127.0.0.1",
            f"spark.sql.warehouse.dir={work}/warehouse",
        ):
            command += ["--conf", setting]
        environment = {**os.environ, "SPARK_HOME": home, "SPARK_LOCAL_IP": "127.0.0.1"}
        # Killing this process, which is the driver, must end its JVM, too.
        self._jvm = subprocess.Popen(
            [*command, "spark-internal"], env=environment, stdout=2, cwd=work, preexec_fn=die_with_parent
        )
        until = time.monotonic() + 120
        while time.monotonic() < until and self._jvm.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                self._address(port)
                return
            time.sleep(0.1)
        raise RuntimeError("the JVM did not start to listen")

    def _address(self, port: int) -> None:
        self.url = f"sc://127.0.0.1:{port}/;session_id={uuid.uuid4()}"

    def session(self) -> Any:
        """The same Spark session as the interpreter's; imported late, since few sessions need it here."""
        with self._lock:
            if self._session is None:
                from pyspark.sql.connect.session import SparkSession

                self._session = SparkSession.builder.remote(self.url).create()
            return self._session

    def cancel(self, group: str) -> None:
        if self.url:
            self.session().interruptTag(f"livy-{group}")

    def stop_jobs(self) -> None:
        if self.url:
            self.session().interruptAll()

    def close(self) -> None:
        if self._jvm is not None:
            self._jvm.kill()
            self._jvm.wait()

    def sql(self, code: str, group: str) -> dict[str, Any]:
        """The output of `kind: sql`, with the losses that a real server has."""
        if not self.url:
            return failed("no engine")
        try:
            spark = self.session()
            spark.clearTags()
            spark.addTag(f"livy-{group}")
            frame = spark.sql(code)
            if DDL.match(code):
                frame.collect()
                return {"status": "ok", "data": {"application/json": {"schema": struct([]), "data": []}}}
            schema = json.loads(frame.schema.json())
            rows = frame.take(self._max_rows)
            types = [field["type"] for field in schema["fields"]]
            data = [[loose(kind, value) for kind, value in zip(types, row)] for row in rows]
        except Exception as error:
            return failed(str(error))
        return {"status": "ok", "data": {"application/json": {"schema": schema, "data": data}}}


def die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # 1: PR_SET_PDEATHSIG


def struct(fields: list[Any]) -> dict[str, Any]:
    return {"type": "struct", "fields": fields}


def failed(text: str) -> dict[str, Any]:
    trace = ["org.apache.livy.repl.SQLInterpreter.execute(SQLInterpreter.scala:1)"]
    return {"status": "error", "ename": "Error", "evalue": text, "traceback": trace}


def loose(kind: Any, value: Any) -> Any:
    """A value as the SQL of a real server shows it: decimals as doubles, timestamps in whole seconds."""
    if value is None:
        return None
    if isinstance(kind, dict):
        return loose_nested(kind, value)
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, float):
        return None if math.isnan(value) else "Infinity" if value > 1.8e308 else value
    if isinstance(value, datetime.datetime):
        utc = value.astimezone(datetime.timezone.utc)
        return utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return list(value)
    return value


def loose_nested(kind: dict[str, Any], value: Any) -> Any:
    if kind["type"] == "array":
        return [loose(kind["elementType"], item) for item in value]
    if kind["type"] == "map":
        return {str(key): loose(kind["valueType"], item) for key, item in value.items()}
    if kind["type"] != "struct":
        return str(value)
    fields = kind["fields"]
    shown = [
        {"name": f["name"], "dataType": {}, "nullable": f["nullable"], "metadata": {"map": {}}}
        for f in fields
    ]
    return {"schema": shown, "values": [loose(f["type"], item) for f, item in zip(fields, value)]}
