"""The harness behind a REPL that reads JSON lines on descriptor 0 and answers on descriptor 1, as in Livy.

Runs on a bare Python 3.9 or later. What needs a server and an engine is in tests/it/livy.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest
import zlib
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "python"
FILES = ("values", "tables", "frames", "streams", "cell", "sql", "catalog", "write", "repl")
# One request a line, one answer a line; what is printed is the answer. Its names are not those of user code.
REPL = """
import io, json, sys
requests, replies, names = sys.stdin, sys.stdout, {}
for line in iter(requests.readline, ""):
    sys.stdout = io.StringIO()
    try:
        exec(compile(json.loads(line), "<stdin>", "exec"), names)
        answer = sys.stdout.getvalue()
    except BaseException as error:
        answer = "raised " + type(error).__name__ + ": " + str(error)
    print(json.dumps(answer), file=replies)
    replies.flush()
"""
# A parent that starts the REPL with its own pipes, says its process id on descriptor 2 and waits.
DRIVER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, *sys.argv[1:]])
sys.stderr.write(str(child.pid) + "\\n"); sys.stderr.flush()
time.sleep(600)
"""


def packed(value):
    return base64.b64encode(json.dumps(value).encode()).decode()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


class Repl:
    """A REPL under a driver; both end with the test."""

    def __init__(self, *flags):
        command = [sys.executable, "-c", DRIVER, *flags, "-c", REPL]
        self.driver = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.pid = int(self.driver.stderr.readline())
        files = [(name, (SOURCE / f"{name}.py").read_text("utf-8")) for name in FILES]
        harness = base64.b64encode(zlib.compress(json.dumps(files).encode())).decode()
        request = packed({"op": "install", "nonce": "first", "move_protocol": True})
        bootstrap = (SOURCE / "bootstrap.py").read_text("utf-8")
        self.about = self.read(
            self.tell(f'{bootstrap}\n_sparklease = _sparklease("{harness}", "{request}")'), "first"
        )

    def tell(self, code):
        self.driver.stdin.write(json.dumps(code) + "\n")
        self.driver.stdin.flush()
        line = self.driver.stdout.readline()
        return json.loads(line) if line else None

    @staticmethod
    def read(text, nonce):
        found = re.search(f"<<sparklease:{nonce}>>(.*)<<sparklease:{nonce}/>>\n", text)
        assert found, text
        body = found[1]
        if body.startswith("z:"):
            body = zlib.decompress(base64.b64decode(body[2:])).decode()
        return json.loads(body)

    def ask(self, op, **request):
        nonce = os.urandom(8).hex()
        limits = {"max_rows": 100, "max_bytes": 1_000_000, "max_figures": 8}
        request = {"op": op, "nonce": nonce, **limits, **request}
        return self.read(self.tell(f'_sparklease("{packed(request)}")'), nonce)

    def run(self, code, kept=False):
        return self.ask("run", code=base64.b64encode(code.encode()).decode(), kept=kept)

    def end(self):
        for pid in (self.driver.pid, self.pid):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.driver.communicate()


class ReplTest(unittest.TestCase):
    def setUp(self):
        self.repl = Repl()
        self.addCleanup(self.repl.end)

    def test_the_first_statement_answers_and_later_ones_run_cells(self):
        self.assertEqual(self.repl.about["about"]["python"], sys.version.split()[0])
        self.assertEqual(self.repl.run("print('hi')\n1 + 1")["stdout"], "hi\n")
        self.assertEqual(self.repl.run("6 * 7")["text"], "42")
        self.assertEqual(self.repl.ask("probe")["status"], "ok")

    def test_unbuffered_pipes_are_moved_too(self):
        repl = Repl("-u")
        self.addCleanup(repl.end)
        repl.run("import threading, time, os\nthreading.Timer(0.05, lambda: os.write(1, b'late\\n')).start()")
        time.sleep(0.2)
        self.assertEqual(repl.run("1")["text"], "1")

    def test_what_writes_to_descriptor_1_never_shifts_an_answer(self):
        for code in (
            "import os; os.write(1, b'raw\\n')",
            "import os; os.system('echo shell')",
            "import sys; sys.__stdout__.write('text\\n')",
            "import os\nfor fd in (0, 1, 2): os.close(fd)",
            "import threading, time, os\n"
            "threading.Timer(0.05, lambda: (os.write(1, b'late\\n'), print('late'))).start()",
            "import subprocess; subprocess.Popen(['sh', '-c', 'sleep 0.05; echo late'])",
            "import os\nif os.fork() == 0:\n    raise ValueError('in the child')",
        ):
            with self.subTest(code=code):
                self.repl.run(code)
                time.sleep(0.15)
                for number in range(3):
                    self.assertEqual(self.repl.run(str(number))["text"], str(number))

    def test_user_code_reads_no_request(self):
        self.assertEqual(
            self.repl.run("import sys, os; (sys.stdin.read(), os.read(0, 10))")["text"], "('', b'')"
        )

    def test_replaced_functions_do_not_reach_the_answer(self):
        self.repl.run(
            "import base64, zlib, os, sys\nbase64.b64decode = zlib.compress = os.dup2 = sys.stdout = None"
        )
        self.assertEqual(self.repl.run("3")["text"], "3")

    def test_names_of_fresh_and_kept_cells_stay_apart(self):
        self.repl.run("x = 1", kept=True)
        self.assertEqual(self.repl.run("x")["error"]["class"], "NameError")
        self.assertEqual(self.repl.run("x", kept=True)["text"], "1")
        self.assertEqual(self.repl.run("_sparklease")["error"]["class"], "NameError")

    def test_an_answer_that_is_too_large_is_cut_and_says_so(self):
        code = (
            "import os, sys\n"
            "class Table:\n    pass\n"
            "rows = [[os.urandom(500).hex()] for _ in range(50_000)]\n"
            "columns = [{'name': 'x', 'type': 'string'}]\n"
            "table = {'columns': columns, 'rows': rows, 'truncated': False, 'index': None}\n"
            "sys.modules['sparklease_cell'].table_of = lambda value, budget: table\n"
            "Table()"
        )
        answer = self.repl.run(code)
        table = answer["tables"][0]
        self.assertTrue(table["truncated"])
        self.assertTrue(0 < len(table["rows"]) < 50_000, len(table["rows"]))

    def test_a_session_without_spark_says_so(self):
        answer = self.repl.ask("sql", sql="select 1", params=None)
        self.assertIn("no Spark session", answer["error"]["message"])

    def test_it_ends_with_its_driver_and_takes_its_children_along(self):
        pid = int(self.repl.run("import subprocess; subprocess.Popen(['sleep', '600']).pid")["text"])
        self.repl.driver.kill()
        deadline = time.monotonic() + 20
        while (alive(self.repl.pid) or alive(pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertFalse(alive(self.repl.pid) or alive(pid))


class Sql(unittest.TestCase):
    def setUp(self):
        for name in FILES[:6]:
            module = type(sys)(f"sparklease_{name}")
            sys.modules[module.__name__] = module
            text = (SOURCE / f"{name}.py").read_text("utf-8")
            exec(compile(text, f"{name}.py", "exec"), module.__dict__)
        self.sql = sys.modules["sparklease_sql"]

    def test_values_are_handed_over_and_never_pasted(self):
        seen = []

        class Frame:
            columns = ()

        class Spark:
            def sql(self, text, args=None):
                seen.append((text, args))
                return Frame()

        self.sql.run(Spark(), "select 1", None, None)
        self.sql.run(Spark(), "select :a", {"a": "x'"}, None)
        self.sql.run(Spark(), "select ?", [2**40, True, None], None)
        self.assertEqual(
            seen, [("select 1", None), ("select :a", {"a": "x'"}), ("select ?", [2**40, True, None])]
        )

    def test_an_old_spark_that_binds_nothing_is_told_apart(self):
        class Spark:
            def sql(self, text, **words):
                raise AssertionError("it would format the text")

        with self.assertRaisesRegex(NotImplementedError, "Spark 3.4"):
            self.sql.run(Spark(), "select :a", {"a": 1}, None)


if __name__ == "__main__":
    unittest.main()
