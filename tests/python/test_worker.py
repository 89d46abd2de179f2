"""The local worker with its real engine, spoken to as the Rust side does: a socket pair and two pipes.

Needs a Python with pysail and pyspark-client: SPARKLEASE_TEST_PYTHON, else the one that runs the tests.
Without one the tests are skipped by name, and fail in CI. Every worker is ended by its process id.
"""

import ast
import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid
from pathlib import Path

WORKER = Path(__file__).resolve().parents[2] / "src" / "python" / "worker.py"
CASES = Path(__file__).resolve().parents[1] / "cases" / "paths.json"
ENGINE = os.environ.get("SPARKLEASE_TEST_PYTHON", sys.executable)
# Long enough for a loaded machine; nothing here decides by time except the deaths, which the protocol bounds.
PATIENCE = 60


def environment(**more):
    """As Rust builds it: allow-listed, so that no DATABRICKS_* or SPARK_* of the host reaches the engine."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "SPARK_HOME": "/nonexistent", "MPLBACKEND": "Agg", "TOKIO_WORKER_THREADS": "4", **more}


def engine_is_missing():
    found = subprocess.run(
        [ENGINE, "-c", "import pysail, pyspark"], env=environment(), capture_output=True, check=False
    )
    return found.returncode != 0


class Worker:
    """The parent's side of one worker."""

    def __init__(self, memory=0, folder=None, **more):
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(PATIENCE)
        arguments = ["--tag", "test", "--parent", str(os.getpid()), "--memory-bytes", str(memory)]
        started = time.monotonic()
        self.process = subprocess.Popen(
            [ENGINE, "-u", "-I", str(WORKER), *arguments],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**more),
            cwd=folder,
            start_new_session=True,
        )
        theirs.close()
        self._lines = self.channel.makefile("r", encoding="utf-8", newline="\n")
        self._text = [bytearray(), bytearray()]
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._drain, args=(at, pipe), daemon=True)
            for at, pipe in enumerate((self.process.stdout, self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()
        self.session = str(uuid.uuid4())
        self.listening = self.message()
        self.listening_after = time.monotonic() - started
        self.channel.sendall(b'{"op": "import"}\n')
        self.ready = self.message()
        self.ready_after = time.monotonic() - started

    def _drain(self, at, pipe):
        while True:
            data = os.read(pipe.fileno(), 1 << 16)
            with self._news:
                self._text[at] += data
                self._news.notify_all()
            if not data:
                return

    def message(self):
        return json.loads(self._lines.readline())

    def start(self, code, kept=False, **more):
        self.nonce, self.mark = uuid.uuid4().hex, f"<mark {uuid.uuid4().hex}>"
        request = {
            "op": "run",
            "nonce": self.nonce,
            "code": base64.b64encode(code.encode()).decode(),
            "spark_session": self.session,
            "kept": kept,
            "max_rows": 100,
            "max_bytes": 1_000_000,
            "max_figures": 4,
            "mark": self.mark,
            **more,
        }
        self.channel.sendall((json.dumps(request) + "\n").encode())
        assert self.message() == {"nonce": self.nonce, "event": "started"}

    def finish(self):
        """The envelope, and under "out" and "err" the text that came before the mark; None if the worker
        died."""
        line = self._lines.readline()
        if not line:
            return None
        before, after = f"<<sparklease:{self.nonce}>>", f"<<sparklease:{self.nonce}/>>\n"
        assert line.startswith(before) and line.endswith(after), line
        envelope = json.loads(line[len(before) : -len(after)])
        envelope["out"], envelope["err"] = self._until_mark(0), self._until_mark(1)
        return envelope

    def _until_mark(self, at):
        mark = self.mark.encode()
        with self._news:
            assert self._news.wait_for(lambda: mark in self._text[at], 10), bytes(self._text[at])
            text, _, rest = bytes(self._text[at]).partition(mark)
            self._text[at] = bytearray(rest)
        return text.decode()

    def run(self, code, **more):
        self.start(code, **more)
        return self.finish()

    def interrupt(self):
        os.kill(self.process.pid, signal.SIGINT)

    def end(self):
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        self._lines.close()
        self.channel.close()


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class EngineTest(unittest.TestCase):
    """One worker for the tests of a class; a test that needs its own starts it."""

    @classmethod
    def setUpClass(cls):
        if engine_is_missing():
            if os.environ.get("CI"):
                raise AssertionError(f"{ENGINE} has no engine: install pysail and pyspark-client")
            raise unittest.SkipTest(f"{ENGINE} has no engine (SPARKLEASE_TEST_PYTHON names one)")
        cls.folder = tempfile.TemporaryDirectory()
        cls.worker = Worker(folder=cls.folder.name)
        cls.addClassCleanup(cls.folder.cleanup)
        cls.addClassCleanup(cls.worker.end)

    def ok(self, code, **more):
        envelope = self.worker.run(code, **more)
        self.assertEqual(envelope["status"], "ok", envelope["error"])
        return envelope

    def table(self, code, **more):
        return self.ok(code, **more)["tables"][0]

    def error(self, code, **more):
        envelope = self.worker.run(code, **more)
        self.assertEqual(envelope["status"], "error")
        return envelope["error"]


class Protocol(EngineTest):
    def test_it_says_where_it_listens_and_then_that_it_is_ready(self):
        self.assertEqual(self.worker.listening["event"], "listening")
        self.assertEqual(self.worker.listening["pid"], self.worker.process.pid)
        self.assertRegex(self.worker.listening["engine"], r"^Sail \d")
        self.assertEqual(self.worker.ready["event"], "ready")
        socket.create_connection(("127.0.0.1", self.worker.listening["port"])).close()

    def test_text_comes_by_the_pipes_and_not_in_the_envelope(self):
        envelope = self.ok("import sys\nprint('a')\nprint('b', file=sys.stderr)")
        self.assertEqual((envelope["out"], envelope["err"], envelope["stdout"]), ("a\n", "b\n", ""))

    def test_c_text_arrives_before_the_mark(self):
        code = "import ctypes\nc = ctypes.CDLL(None)\nc.puts(b'puts')\nc.printf(b'printf')\nNone"
        self.assertEqual(self.ok(code)["out"], "puts\nprintf")

    def test_subprocess_text_arrives_before_the_mark(self):
        self.assertEqual(self.ok("import os\nos.system('echo sub')\nNone")["out"], "sub\n")

    def test_engine_logs_do_not_mix_with_the_users_text(self):
        self.assertEqual(self.ok("spark.range(3).cache().count()")["err"], "")

    def test_user_code_that_breaks_its_streams_breaks_one_cell_only(self):
        for code in (
            "import os\nos.close(0); os.close(1); os.close(2)",
            "import os\nos.dup2(os.open('/dev/null', os.O_RDWR), 1)",
            "import sys\nsys.stdout.close()\nsys.stderr = None",
            "import fcntl, os\nos.set_blocking(1, False)",
            "spark = display = print = None",
            "import signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL)",
        ):
            with self.subTest(code):
                self.assertEqual(self.worker.run(code)["status"], "ok")
                self.assertEqual(self.ok("print('still')")["out"], "still\n")
        self.worker.interrupt()
        self.assertEqual(self.ok("1")["text"], "1")

    def test_replaced_library_functions_do_not_reach_the_protocol(self):
        worker = Worker()
        try:
            code = "import json, os\njson.dumps = json.loads = os.write = os.dup2 = os.set_blocking = None\n1"
            for _ in range(2):
                self.assertEqual(worker.run(code)["text"], "1")
        finally:
            worker.end()

    def test_forged_envelope_is_text(self):
        line = f"<<sparklease:{'0' * 32}>>{{}}<<sparklease:{'0' * 32}/>>\n"
        self.assertEqual(self.ok(f"print({line!r}, end='')")["out"], line)

    def test_kept_namespace_lives_beside_fresh_ones(self):
        self.ok("x = 20\nx + 1", kept=True)
        self.assertEqual(self.error("x")["class"], "NameError")
        self.assertEqual(self.ok("x + _", kept=True)["text"], "41")

    def test_exit_request_ends_the_process(self):
        worker = Worker()
        try:
            worker.channel.sendall(b'{"op":"exit"}\n')
            self.assertEqual(worker.process.wait(10), 0)
        finally:
            worker.end()

    def test_end_of_the_channel_ends_the_process_also_during_a_cell(self):
        worker = Worker()
        try:
            worker.start("import time\ntime.sleep(100)")
            worker.channel.shutdown(socket.SHUT_WR)
            self.assertEqual(worker.process.wait(10), 0)
        finally:
            worker.end()

    def test_os_exit_ends_the_process_without_an_answer(self):
        worker = Worker()
        try:
            self.assertIsNone(worker.run("import os\nos._exit(9)"))
            self.assertEqual(worker.process.wait(10), 9)
        finally:
            worker.end()

    def test_forked_child_keeps_no_channel_and_gives_no_answer(self):
        code = (
            "import os, time\nif os.fork() == 0:\n    time.sleep(0.3)\n    raise ValueError('child')\n"
            "os.wait()\nprint('parent')"
        )
        self.assertEqual(self.ok(code)["out"], "parent\n")
        self.assertEqual(self.ok("1")["text"], "1")

    def test_worker_of_another_parent_refuses_to_start(self):
        done = subprocess.run(
            [ENGINE, "-I", str(WORKER), "--tag", "t", "--parent", "1", "--memory-bytes", "0"],
            env=environment(),
            stdin=subprocess.DEVNULL,
            check=False,
        )
        self.assertEqual(done.returncode, 3)


class Sessions(EngineTest):
    def other_client(self, script):
        """A second Spark Connect client on the same session; a process of its own, ended without pyspark's
        exit."""
        url = f"sc://127.0.0.1:{self.worker.listening['port']}/;session_id={self.worker.session}"
        text = (
            f"import os\nfrom pyspark.sql.connect.session import SparkSession\n"
            f"spark = SparkSession.builder.remote({url!r}).create()\n{script}\nos._exit(0)"
        )
        done = subprocess.run(
            [ENGINE, "-u", "-c", text], env=environment(), capture_output=True, check=False, timeout=PATIENCE
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def test_temp_views_are_shared_with_another_client_both_ways(self):
        self.ok("spark.range(3).createOrReplaceTempView('mine')")
        out = self.other_client(
            "print(spark.table('mine').count())\nspark.range(5).createOrReplaceTempView('theirs')"
        )
        self.assertEqual(out, "3\n")
        self.assertEqual(self.ok("spark.table('theirs').count()")["text"], "5")

    def test_session_that_user_code_stopped_is_there_again_with_its_views(self):
        self.ok("spark.range(4).createOrReplaceTempView('kept_view')\nspark.stop()")
        self.assertEqual(self.ok("spark.table('kept_view').count()")["text"], "4")

    def test_scripts_that_build_a_session_get_this_one(self):
        code = (
            "from pyspark.sql import SparkSession\n"
            "builder = SparkSession.builder.master('local[*]').appName('x').config('spark.some', '1')\n"
            "mine = builder.getOrCreate()\n"
            "mine is spark"
        )
        self.assertEqual(self.ok(code)["text"], "True")

    def test_spark_that_a_kept_namespace_lost_is_given_again(self):
        self.ok("spark = None", kept=True)
        self.assertEqual(self.ok("spark.range(2).count()", kept=True)["text"], "2")

    def test_udf_of_a_cell_runs(self):
        table = self.table(
            "from pyspark.sql.functions import udf\nclass K:\n    def times(self, x): return x * 10\n"
            "@udf('bigint')\ndef f(x): return K().times(x)\nspark.range(3).select(f('id').alias('y'))"
        )
        self.assertEqual(table["rows"], [[0], [10], [20]])

    def test_failing_udf_tells_the_users_line_and_not_pysparks(self):
        error = self.error(
            "from pyspark.sql.functions import udf\n@udf('bigint')\ndef f(x):\n    raise ValueError('boom')\n"
            "spark.range(3).select(f('id'))"
        )
        self.assertEqual(error["line"], 4)
        self.assertIn('File "<cell>", line 4, in f', error["message"])
        self.assertNotIn("pyspark/worker.py", error["message"])

    def test_missing_table_has_its_error_class(self):
        self.assertEqual(self.error("spark.table('nope')")["error_class"], "TABLE_OR_VIEW_NOT_FOUND")

    def test_figure_of_pyplot_is_a_valid_png(self):
        figure = self.ok("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nNone")["figures"][0]
        data = base64.b64decode(figure["data"])
        self.assertEqual((data[:8], data[-8:-4]), (b"\x89PNG\r\n\x1a\n", b"IEND"))


class Tables(EngineTest):
    def cells(self, expressions):
        table = self.table(f"spark.sql({('select ' + ', '.join(expressions))!r})")
        return [(column["type"], cell) for column, cell in zip(table["columns"], table["rows"][0])]

    def test_values_are_exact(self):
        cases = [
            ("cast('12345678901234567890.123456789012345678' as decimal(38,18))", "decimal(38,18)",
             "12345678901234567890.123456789012345678"),
            ("cast('-0.000000000000000001' as decimal(38,18))", "decimal(38,18)", "-0.000000000000000001"),
            ("cast(0 as decimal(38,18))", "decimal(38,18)", "0.000000000000000000"),
            ("date'0001-01-01'", "date", "0001-01-01"),
            ("date'0001-01-01' - interval 1 day", "date", "0000-12-31"),
            ("date'9999-12-31' + interval 1 day", "date", "+10000-01-01"),
            ("timestamp'2020-01-02 03:04:05.123456'", "timestamp", "2020-01-02 03:04:05.123456+00:00"),
            ("timestamp'2020-01-02 03:04:05'", "timestamp", "2020-01-02 03:04:05+00:00"),
            ("timestamp_ntz'2020-01-02 03:04:05.000001'", "timestamp_ntz", "2020-01-02 03:04:05.000001"),
            ("cast('ab' as binary)", "binary", "YWI="),
            ("named_struct('a', 1, 'b', array(named_struct('x', 2.5D)))",
             "struct<a:int,b:array<struct<x:double>>>",
             {"a": 1, "b": [{"x": 2.5}]}),
            ("named_struct('x', 1, 'x', 2)", "struct<x:int,x:int>", [["x", 1], ["x", 2]]),
            ("map('k', 1, 'j', null)", "map<string,int>", {"k": 1, "j": None}),
            ("map(1, 'x')", "map<int,string>", [[1, "x"]]),
            ("double('NaN')", "double", "NaN"),
            ("float('-Infinity')", "float", "-Infinity"),
            ("float(0.1)", "float", 0.1),
            ("9007199254740993L", "bigint", 9007199254740993),
            ("cast('-9223372036854775808' as bigint)", "bigint", -(2**63)),
            ("'žluť 🦀'", "string", "žluť 🦀"),
            ("cast(null as string)", "string", None),
            ("true", "boolean", True),
            ("tinyint(1)", "tinyint", 1),
            ("interval '1 02:03:04.5' day to second", "interval day to second", "1 02:03:04.500000"),
        ]  # fmt: skip
        found = self.cells([expression for expression, _, _ in cases])
        for (expression, kind, cell), given in zip(cases, found):
            with self.subTest(expression):
                self.assertEqual(given, (kind, cell))

    def test_year_month_intervals_that_pyarrow_cannot_touch_are_text(self):
        ((kind, cell),) = self.cells(["interval '1-2' year to month"])
        self.assertEqual(kind, "interval year to month")
        self.assertIn("1-2", cell)

    def test_timestamps_are_in_the_sessions_zone(self):
        code = (
            "spark.conf.set('spark.sql.session.timeZone', 'Europe/Amsterdam')\n"
            "spark.sql(\"select timestamp'2020-07-01 00:00:00', timestamp'1900-01-01 00:30:00'\")"
        )
        try:
            rows = self.table(code)["rows"]
        finally:
            self.ok("spark.conf.set('spark.sql.session.timeZone', 'Etc/UTC')")
        self.assertEqual(rows[0][0], "2020-07-01 00:00:00+02:00")
        self.assertTrue(rows[0][1].endswith("+00:19:32"))

    def test_column_names_may_be_doubled(self):
        table = self.table("spark.sql('select 1 a, 2 a, 3 `ž b`')")
        self.assertEqual([column["name"] for column in table["columns"]], ["a", "a", "ž b"])
        self.assertEqual(table["rows"], [[1, 2, 3]])

    def test_large_frame_gives_the_first_rows_only(self):
        table = self.table("spark.range(1_000_000).selectExpr('id', 'uuid() u')")
        self.assertEqual((len(table["rows"]), table["truncated"]), (100, True))

    def test_frame_is_not_run_beyond_the_limit(self):
        table = self.table("spark.range(10**12)", max_rows=3)
        self.assertEqual((table["rows"], table["truncated"]), ([[0], [1], [2]], True))

    def test_rows_stop_at_the_byte_limit(self):
        table = self.table("spark.range(50).selectExpr('repeat(\"x\", 100) s')", max_bytes=1_000)
        self.assertTrue(table["truncated"])
        self.assertLess(len(json.dumps(table["rows"])), 1_100)

    def test_pandas_frame_from_spark_keeps_nested_columns(self):
        table = self.table("spark.sql('select array(1, 2) a, 1 b').toPandas()")
        self.assertEqual(table["rows"], [[[1, 2], 1]])
        self.assertEqual(table["columns"][0], {"name": "a", "type": "array<bigint>"})

    def test_display_adds_a_table(self):
        tables = self.ok("display(spark.range(1))\nspark.range(2)")["tables"]
        self.assertEqual([len(table["rows"]) for table in tables], [1, 2])

    def test_failing_query_of_a_last_expression_fails_at_its_line(self):
        self.assertEqual(self.error("x = 1\nspark.sql('select 1/0')")["line"], 2)


class Shims(EngineTest):
    def test_statements_that_sail_does_not_parse_are_rewritten(self):
        self.ok("spark.range(3).createOrReplaceTempView('v')")
        for sql in (
            "DESCRIBE v",
            "desc v;",
            "-- why\n/* not */ DESC TABLE v",
            "describe formatted v",
            "DESC EXTENDED v",
        ):
            with self.subTest(sql):
                self.assertEqual(self.table(f"spark.sql({sql!r})")["rows"][0][:2], ["id", "bigint"])
        self.ok("spark.sql('USE default')")
        self.ok("spark.sql('use database default')")
        self.ok("spark.sql('DESCRIBE FUNCTION abs')")
        self.ok("spark.sql('DESC DATABASE default')")

    def test_set_is_a_setting_and_answers_like_spark(self):
        table = self.table("spark.sql('SET spark.my.key = a b ;')")
        self.assertEqual([column["name"] for column in table["columns"]], ["key", "value"])
        self.assertEqual(table["rows"], [["spark.my.key", "a b"]])
        self.assertEqual(self.ok("spark.conf.get('spark.my.key')")["text"], "'a b'")
        self.assertEqual(self.table("spark.sql('set spark.my.key')")["rows"], [["spark.my.key", "a b"]])
        self.assertIn("SET without a key", self.error("spark.sql('SET')")["message"])

    def test_missing_paths_are_errors_and_not_empty(self):
        for code in (
            "spark.read.parquet('nope')",
            "spark.read.csv('nope/*.csv')",
            "spark.read.json(['nope.json'])",
            "spark.read.text('file:///no/such/file')",
            "spark.read.format('csv').load('nope')",
            "spark.read.format('csv').option('path', 'nope').load()",
            "spark.read.format('delta').load('/nope')",
            "spark.sql('select * from parquet.`nope`')",
            "spark.sql('select * from range(1), csv . `nope/{a,b}.csv`')",
            "spark.sql('merge into t using csv.nope s on false when not matched then insert *')",
            "spark.sql(\"create temp view v using csv options (path '/nope')\")",
            "spark.sql(\"create table t using json location '/nope'\")",
            "spark.read.format('arrow').load('/nope')",
            "spark.read.format('csv').option('PATH', '/nope').load()",
            "spark.read.table('parquet.`/nope`')",
            "spark.table('text.nope')",
            "spark.table('json . /* x */ `/nope`')",
            "spark.range(1).filter('id not in (select 1 from parquet.`/nope`)')",
            "spark.range(1).selectExpr('(select count(*) from csv.`/nope`)')",
        ):
            with self.subTest(code):
                error = self.error(code)
                self.assertEqual(error["class"], "FileNotFoundError")
                self.assertIn("nope" if "nope" in code else "/no/such/file", error["message"])
                self.assertIn(self.folder.name, error["message"])

    def test_paths_that_exist_are_read_also_by_pattern_and_relative(self):
        self.ok("spark.range(3).write.mode('overwrite').parquet('data one')")
        for code in (
            "spark.read.parquet('data one').count()",
            "spark.read.parquet('data*').count()",
            "spark.read.parquet('data {one,two}').count()",
            "spark.sql('select * from parquet.`data one`').count()",
        ):
            with self.subTest(code):
                self.assertEqual(self.ok(code)["text"], "3")

    def test_path_relations_in_strings_and_comments_are_none(self):
        self.assertEqual(self.ok("spark.sql(\"select 'parquet.`/x`' a -- csv.`/y`\").count()")["text"], "1")

    def test_columns_of_a_table_with_a_formats_name_are_no_paths(self):
        self.ok("spark.sql('select 1 id, date(0) d').createOrReplaceTempView('t')")
        sql = (
            "select extract(year from json.d) y from t json where json.id is not distinct from json.`id`"
            " group by 1, json.id"
        )
        self.assertEqual(self.table(f"spark.sql({sql!r})")["rows"], [[1970]])

    def test_files_that_a_text_reads_are_found_as_rust_finds_them(self):
        code = (
            "import json, sparklease_engine_paths as p\n"
            f"cases = json.load(open({str(CASES)!r}))\n"
            "found = [[text, p.relations(text)] for text, _ in cases['texts']]\n"
            "differing = [f for f, c in zip(found, cases['texts']) if f != c]\n"
            "(list(p.FILE_FORMATS) == cases['formats'], differing)"
        )
        self.assertEqual(self.ok(code)["text"], "(True, [])")

    def test_a_path_is_there_when_the_engine_reads_it(self):
        """Both ways: what is said to be there has rows, what is said to be missing reads as empty."""
        files = json.loads(CASES.read_text())["files"]
        with tempfile.TemporaryDirectory(dir=self.folder.name) as root:
            for file in files["tree"]:
                (Path(root) / file).parent.mkdir(parents=True, exist_ok=True)
                (Path(root) / file).write_text("v\n")
            bracket = files["in_bracket_folder"]
            for folder, paths in (("", files), (bracket["folder"], bracket)):
                for checked in (True, False):
                    self.assertEqual(*self.rows(root, str(Path(root) / folder), paths, checked))

    def rows(self, root, folder, paths, checked):
        """What reading each path gives, and what it should: its rows, or how it ended."""
        names = paths["present"] + paths["missing"]
        code = f"""
import os, sparklease_engine_paths as p
def read(path):
    try: return spark.sql(f"select * from text.`{{path}}`").count() > 0
    except FileNotFoundError: return "missing"
here, check = os.getcwd(), p.check
os.chdir({folder!r})
if not {checked}: p.check = lambda path: None
try: found = [read(path.replace("ROOT", {root!r})) for path in {names!r}]
finally:
    os.chdir(here)
    p.check = check
found
"""
        ends = "missing" if checked else False
        expected = [True] * len(paths["present"]) + [ends] * len(paths["missing"])
        found = ast.literal_eval(self.ok(code)["text"])
        return list(zip(names, found)), list(zip(names, expected))

    def test_looking_for_a_match_ends_and_leaves_the_answer_to_the_engine(self):
        code = """
import time, sparklease_engine_paths as p
kept, p.LOOK_FOR_S = p.LOOK_FOR_S, 0
try: p.check("/nope/*"), p.check("{a,b}" * 40)
finally: p.LOOK_FOR_S = kept
"""
        self.ok(code)

    def test_a_pattern_without_a_folder_reads_in_a_folder_with_brackets(self):
        code = """
import os
here = os.getcwd()
os.makedirs("br[1]", exist_ok=True)
os.chdir("br[1]")
try:
    open("x.csv", "w").write("v")
    found = spark.read.text("*.csv").count(), spark.read.text(["x*", "x.csv"]).count()
finally: os.chdir(here)
found
"""
        self.assertEqual(self.ok(code)["text"], "(1, 2)")

    def test_streaming_and_artifacts_are_refused_clearly(self):
        code = "spark.readStream.format('rate').load().writeStream.format('memory').queryName('q').start()"
        self.assertIn("streaming is not supported by the local engine", self.error(code)["message"])
        self.assertIn("local files", self.error("spark.addArtifact('x.py')")["message"])


class Asks(EngineTest):
    """What the worker asks its parent for: texts of `spark.sql`, frames to save."""

    def answered(self, code, *answers):
        """Runs a cell whose asks get these answers; its asks and its envelope."""
        self.worker.start(code, answers=True)
        asked = []
        for answer in answers:
            ask = self.worker.message()
            self.assertEqual((ask["event"], ask["nonce"]), ("asked", self.worker.nonce))
            asked.append(ask["body"])
            self.answer(ask["id"], answer)
        return asked, self.worker.finish()

    def answer(self, number, answer):
        line = json.dumps({"op": "answer", "id": number, "answer": answer}) + "\n"
        self.worker.channel.sendall(line.encode())

    def test_a_text_is_answered_with_rows_or_with_another_text_or_a_setting(self):
        columns = [
            {"name": "v", "type": "bigint"},
            {"name": "at", "type": "timestamp"},
            {"name": "m", "type": "map<string,string>"},
        ]
        rows = {"columns": columns, "rows": [[1, "2024-01-02 03:04:05.678+00:00", {"a": "b"}]]}
        code = (
            "print(spark.sql('x', {'k': 1}).select('v', 'm').collect(), spark.sql('y', [2.5]).collect(),"
            " spark.sql('z').collect())"
        )
        sent, envelope = self.answered(code, rows, {"sql": "select 5 as n"}, {"columns": [], "rows": []})
        self.assertEqual(envelope["out"], "[Row(v=1, m={'a': 'b'})] [Row(n=5)] []\n", envelope["error"])
        self.assertEqual(
            sent,
            [
                {"ask": "sql", "text": "x", "params": {"k": 1}},
                {"ask": "sql", "text": "y", "params": [2.5]},
                {"ask": "sql", "text": "z", "params": {}},
            ],
        )

    def test_a_refusal_is_raised_as_pyspark_would(self):
        for code, kind in (("unsupported", "NotImplementedError"), ("not_found", "AnalysisException")):
            answer = {"error": {"code": code, "message": "no", "hint": "Do this."}}
            _, envelope = self.answered("spark.sql('x')", answer)
            self.assertEqual(envelope["error"]["class"], kind)
            self.assertEqual(envelope["error"]["message"], "no. Do this.")

    def test_a_frame_to_save_is_a_view_as_long_as_the_ask_lasts(self):
        code = (
            "spark.range(3).write.mode('overwrite').partitionBy('id').saveAsTable('db.t')\n"
            "spark.range(3).writeTo('u').tableProperty('k', 'v').create()\n"
            "[t.name for t in spark.catalog.listTables()]"
        )
        done = {"columns": [], "rows": []}
        sent, envelope = self.answered(code, done, done)
        self.assertEqual(envelope["text"], "[]", envelope["error"])
        views = [ask.pop("view") for ask in sent]
        self.assertTrue(all(view.startswith("__sparklease_") for view in views))
        common = {"ask": "save", "format": None, "path": None}
        self.assertEqual(
            sent,
            [
                {
                    **common,
                    "table": "db.t",
                    "mode": "overwrite",
                    "partition_by": ["id"],
                    "overwrite_schema": False,
                    "merge_schema": False,
                },
                {**common, "table": "u", "mode": "error", "partition_by": [], "properties": {"k": "v"}},
            ],
        )

    def test_what_no_one_can_read_and_what_no_one_answers_goes_to_the_engine(self):
        self.assertEqual(self.worker.run(r"spark.sql('\ud800')", answers=True)["status"], "error")
        self.assertEqual(self.ok("spark.sql('select 4 as n').collect()[0].n")["text"], "4")
        code = (
            "import os\nchild = os.fork()\n"
            "if child == 0:\n    import sparklease_engine_tables as t\n"
            "    os._exit(7 if t.asked(ask='sql', text='x') is None else 8)\n"
            "os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])"
        )
        self.worker.start(code, answers=True)
        self.assertEqual(self.worker.finish()["text"], "7")
        for value in ("2 ** 70", "float('nan')", "b'x'", "__import__('datetime').date(2020, 1, 1)"):
            sent, _ = self.answered(f"spark.sql('x', [{value}])", {"sql": "select 1"})
            self.assertIsNone(sent[0]["params"], value)

    def test_a_save_mode_is_read_as_spark_reads_it(self):
        done = {"columns": [], "rows": []}
        modes = {"OverWrite": "overwrite", "ErrorIfExists": "error", "default": "error", "APPEND": "append"}
        for mode, expected in modes.items():
            sent, envelope = self.answered(f"spark.range(1).write.mode('{mode}').saveAsTable('t')", done)
            self.assertEqual((sent[0]["mode"], envelope["status"]), (expected, "ok"), envelope["error"])
        error = self.error("spark.range(1).write.mode('sideways').saveAsTable('t')", answers=True)
        self.assertEqual(error["class"], "IllegalArgumentException")
        self.assertIn('unknown save mode "sideways"', error["message"])

    def test_frames_that_a_text_names_are_there_for_whom_it_is_asked(self):
        code = (
            "text = 'create table t as select * from {df} where \\'{{\\' <> {s}'\n"
            "spark.sql(text, df=spark.range(2), s='a').collect(), "
            "[t.name for t in spark.catalog.listTables()]"
        )
        for answer, expected in (
            ({"columns": [], "rows": []}, "([], [])"),
            ({"sql": "select count(*) as n, '{{' as brace from {df}"}, "([Row(n=2, brace='{{')], [])"),
        ):
            self.worker.start(code, answers=True)
            ask = self.worker.message()
            text = ask["body"]["text"]
            view = text.split(" from ")[1].split(" ")[0]
            self.assertEqual(text, f"create table t as select * from {view} where '{{' <> 'a'")
            answer = {
                key: value.replace("{df}", view) if key == "sql" else value for key, value in answer.items()
            }
            self.answer(ask["id"], answer)
            if "sql" in answer:
                settle = self.worker.message()
                self.assertEqual(settle["body"], {"ask": "settle"})
                self.answer(settle["id"], {})
            envelope = self.worker.finish()
            self.assertEqual(envelope["text"], expected, envelope["error"])

    def test_a_cells_end_ends_what_its_threads_wait_for(self):
        code = (
            "import threading\nsaid = []\n"
            "def ask():\n    try:\n        spark.sql('x')\n"
            "    except Exception as error:\n        said.append(repr(error))\n"
            "thread = threading.Thread(target=ask)\nthread.start()\nspark.sql('y').count()"
        )
        self.worker.start(code, kept=True, answers=True)
        asks = [self.worker.message() for _ in range(2)]
        own = next(ask for ask in asks if ask["body"]["text"] == "y")
        self.answer(own["id"], {"sql": "select 1"})
        self.assertEqual(self.worker.finish()["text"], "1")
        ended = self.worker.run("thread.join()\nsaid", kept=True)
        self.assertEqual(ended["text"], "[\"RuntimeError('the cell has ended')\"]", ended["error"])

    def test_an_interrupt_ends_the_wait_and_a_late_answer_is_dropped(self):
        self.worker.start("spark.sql('x')", answers=True)
        ask = self.worker.message()
        self.worker.interrupt()
        self.assertEqual(self.worker.finish()["status"], "cancelled")
        self.answer(ask["id"], {"sql": "select 1"})
        self.assertEqual(self.ok("1 + 1")["text"], "2")


class Cancel(EngineTest):
    def cancelled(self, code, after=0.3):
        self.worker.start(code, kept=True)
        time.sleep(after)
        self.worker.interrupt()
        envelope = self.worker.finish()
        self.assertEqual(envelope["status"], "cancelled", envelope)
        return envelope

    def test_running_python_stops_and_the_namespace_survives(self):
        self.ok("x = 41", kept=True)
        for code in ("while True: pass", "import time\ntime.sleep(100)"):
            with self.subTest(code):
                envelope = self.cancelled(code)
                self.assertEqual(envelope["error"]["class"], "KeyboardInterrupt")
                self.assertIn("<cell", envelope["error"]["traceback"])
        self.assertEqual(self.ok("x + 1", kept=True)["text"], "42")

    def test_running_query_stops(self):
        sql = "select max(hash(a.id, b.id)) from range(10000000) a cross join range(1000000) b"
        self.cancelled(f"spark.sql({sql!r}).collect()", after=1)
        self.assertEqual(self.ok("spark.range(2).count()")["text"], "2")

    def test_cancel_that_user_code_swallowed_is_no_cancel(self):
        code = "import time\ntry:\n    time.sleep(100)\nexcept KeyboardInterrupt:\n    pass\n'went on'"
        self.worker.start(code)
        time.sleep(0.3)
        self.worker.interrupt()
        envelope = self.worker.finish()
        self.assertEqual((envelope["status"], envelope["text"]), ("ok", "'went on'"))

    def test_signal_between_cells_does_nothing(self):
        self.ok("1")
        for _ in range(20):
            self.worker.interrupt()
            time.sleep(0.002)
        self.assertEqual(self.ok("2")["text"], "2")

    def test_storm_of_signals_never_tears_a_line(self):
        stop = threading.Event()

        def storm():
            while not stop.wait(0.0005):
                self.worker.interrupt()

        thread = threading.Thread(target=storm)
        thread.start()
        seen = set()
        try:
            for at in range(200):
                code = (
                    "print('text')\nsum(range(20_000))"
                    if at % 2
                    else "[display(i) for i in range(20)]\n1 / 0"
                )
                seen.add(self.worker.run(code)["status"])
        finally:
            stop.set()
            thread.join()
        self.assertLessEqual(seen, {"ok", "error", "cancelled"})
        self.assertIn("cancelled", seen)
        self.assertEqual(self.ok("2")["text"], "2")


class Death(EngineTest):
    PARENT = """
import sys; sys.path.insert(0, {folder!r})
import test_worker
worker = test_worker.Worker()
worker.start("sum(range(10**10))")
print(worker.process.pid, flush=True)
import time; time.sleep(600)
"""

    def test_worker_that_holds_the_interpreter_lock_dies_with_its_parent(self):
        script = self.PARENT.format(folder=str(Path(__file__).parent))
        more = {"SPARKLEASE_TEST_PYTHON": ENGINE, "PYTHONDONTWRITEBYTECODE": "1"}
        parent = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment(**more)
        )
        pid = None
        try:
            pid = int(parent.stdout.readline())
            time.sleep(0.5)
            self.assertTrue(alive(pid))
            parent.kill()
            parent.wait()
            deadline = time.monotonic() + 1
            while alive(pid) and time.monotonic() < deadline:
                time.sleep(0.01)
            self.assertFalse(alive(pid))
        finally:
            parent.kill()
            parent.wait()
            parent.stdout.close()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Memory(EngineTest):
    def test_memory_beyond_the_cap_is_an_error_and_the_worker_lives_on(self):
        worker = Worker(memory=400 << 20)
        try:
            for code in ("x = bytearray(10**11)", "x = []\nwhile True: x.append(bytearray(10**6))"):
                envelope = worker.run(code)
                self.assertEqual(envelope["error"]["class"], "MemoryError")
                self.assertEqual(worker.run("1 + 1")["text"], "2")
                self.assertEqual(worker.run("spark.range(3).count()")["text"], "3")
            plot = "import matplotlib.pyplot as plt\nplt.plot(spark.range(9).toPandas().id)\nNone"
            self.assertEqual(len(worker.run(plot)["figures"]), 1)
        finally:
            worker.end()


if __name__ == "__main__":
    unittest.main()
