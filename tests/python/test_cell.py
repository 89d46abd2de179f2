"""The harness by itself: capture, namespaces, errors, values, framing. Runs on a bare Python 3.9 or later.

Tests that need pandas, pyarrow or matplotlib are skipped by name where these are missing, except in CI.
What needs an engine is in test_worker.py.
"""

import base64
import contextlib
import ctypes
import datetime as dt
import decimal
import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "python"


def load(name):
    """As a carrier without files does it: the text, exec'ed as a module."""
    module = type(sys)(f"sparklease_{name}")
    sys.modules[module.__name__] = module
    exec(compile((SOURCE / f"{name}.py").read_text("utf-8"), f"{name}.py", "exec"), module.__dict__)
    return module


values, tables, frames, streams, cell = (
    load(name) for name in ("values", "tables", "frames", "streams", "cell")
)


def needs(package):
    present = importlib.util.find_spec(package) is not None
    return unittest.skipUnless(present or os.environ.get("CI"), f"{package} is not installed")


class Variable(unittest.TestCase):
    """A variable as a temp view: which variables are frames, and what is said of the others."""

    def told(self, names, variable):
        with self.assertRaises(frames.NoFrameError) as caught:
            frames.to_view(names, variable, "v")
        return str(caught.exception)

    def test_what_is_not_there_names_the_frames_that_are(self):
        kind = type("DataFrame", (), {"__module__": "pandas.core.frame"})
        names = {"orders": kind(), "_hidden": kind(), "n": 5}
        self.assertEqual(
            self.told(names, "ordres"),
            "the session has no variable ordres; did you mean orders?; its frames are: orders",
        )
        self.assertEqual(self.told(names, "n"), "the variable n is no frame but int; its frames are: orders")
        self.assertEqual(self.told({}, "x"), "the session has no variable x; its frames are: none")

    def test_many_frames_are_counted(self):
        kind = type("DataFrame", (), {"__module__": "pyspark.sql.connect.dataframe"})
        names = {f"f{number:02}": kind() for number in range(25)}
        self.assertTrue(self.told(names, "x").endswith("f19 and 5 more"))

    @needs("pyarrow")
    def test_arrow_types_become_the_nearest_that_lose_nothing(self):
        import pyarrow as pa

        kinds = {
            pa.timestamp("ns"): "timestamp[us]",
            pa.timestamp("ns", "Europe/Berlin"): "timestamp[us, tz=UTC]",
            pa.uint64(): "decimal128(20, 0)",
            pa.dictionary(pa.int8(), pa.string()): "string",
            pa.null(): "string",
            pa.list_(pa.uint8()): "list<item: int16>",
            pa.int64(): "int64",
        }
        for kind, expected in kinds.items():
            self.assertEqual(str(frames._spark_type(kind)), expected)


class CellTest(unittest.TestCase):
    def setUp(self):
        self.session = cell.Session()

    def run_cell(self, code, kept=False, provide=dict, capture=None, **limits):
        request = {
            "nonce": "0" * 32,
            "code": base64.b64encode(code.encode()).decode(),
            "kept": kept,
            "max_rows": 100,
            "max_bytes": 1_000_000,
            "max_figures": 5,
            **limits,
        }
        envelope = self.session.run(request, provide, capture or streams.Capture())
        framed = cell.frame(request["nonce"], envelope)
        self.assertEqual(framed.count("\n"), 1)
        return envelope

    def rows(self, code, **limits):
        envelope = self.run_cell(code, **limits)
        self.assertIsNone(envelope["error"], envelope["error"])
        return envelope["tables"][0]


class Frame(unittest.TestCase):
    def test_envelope_stands_on_one_ascii_line_between_sentinels(self):
        line = cell.frame("ab", {"text": "ž\n<<sparklease:ab/>>"})
        self.assertTrue(line.startswith("<<sparklease:ab>>{"))
        self.assertTrue(line.endswith("}<<sparklease:ab/>>\n"))
        self.assertTrue(line.isascii())
        self.assertEqual(line.count("\n"), 1)
        body = line[len("<<sparklease:ab>>") : -len("<<sparklease:ab/>>\n")]
        self.assertEqual(json.loads(body), {"text": "ž\n<<sparklease:ab/>>"})


class Values(CellTest):
    def test_last_expression_is_shown_as_its_repr(self):
        self.assertEqual(self.run_cell("x = 2\nx * 21")["text"], "42")

    def test_none_and_statements_show_nothing(self):
        for code in ("None", "x = 1", "", "# only a comment"):
            self.assertIsNone(self.run_cell(code)["text"])

    def test_long_repr_is_cut_and_says_so(self):
        text = self.run_cell("'x' * 30_000")["text"]
        self.assertEqual(len(text.split("…")[0]), cell.TEXT_LIMIT)
        self.assertIn("30002 characters", text)

    def test_future_imports_of_the_cell_hold_for_its_last_expression(self):
        code = "from __future__ import annotations\ndef f(a: Missing): ...\nf.__annotations__"
        self.assertEqual(self.run_cell(code)["text"], "{'a': 'Missing'}")

    def test_display_prints_what_is_no_table(self):
        self.assertEqual(self.run_cell("display('a', 1)")["stdout"], "a\n1\n")

    def test_names_given_by_the_platform_are_there(self):
        self.assertEqual(self.run_cell("spark", provide=lambda: {"spark": 7})["text"], "7")

    def test_failure_to_provide_a_session_is_the_error_of_the_cell(self):
        def provide():
            raise ConnectionError("no engine")

        error = self.run_cell("1", provide=provide)["error"]
        self.assertEqual((error["class"], error["message"]), ("ConnectionError", "no engine"))

    def test_code_that_is_not_base64_is_an_error_and_no_crash(self):
        request = {"nonce": "", "code": "&", "kept": False, "max_rows": 1, "max_bytes": 1, "max_figures": 1}
        self.assertEqual(self.session.run(request, dict, streams.Capture())["status"], "error")


class Namespaces(CellTest):
    def test_fresh_namespaces_share_nothing(self):
        self.run_cell("x = 1")
        self.assertEqual(self.run_cell("x")["error"]["class"], "NameError")

    def test_kept_namespace_is_kept_with_the_last_value_as_underscore(self):
        self.run_cell("x = 20\nx + 1", kept=True)
        self.assertEqual(self.run_cell("x + _", kept=True)["text"], "41")

    def test_fresh_cell_between_kept_ones_leaves_them_alone(self):
        self.run_cell("x = 1", kept=True)
        self.run_cell("x = 2")
        self.assertEqual(self.run_cell("x", kept=True)["text"], "1")

    def test_cell_is_the_main_module(self):
        self.assertEqual(self.run_cell("__name__")["text"], "'__main__'")

    def test_main_module_of_the_carrier_is_back_after_the_cell(self):
        before = sys.modules["__main__"]
        self.run_cell("import sys\nsys.modules['__main__'] = None")
        self.assertIs(sys.modules["__main__"], before)

    def test_classes_of_a_cell_can_be_pickled_and_be_dataclasses(self):
        code = (
            "import dataclasses, pickle\n@dataclasses.dataclass\nclass P:\n    a: 'int'\n"
            "pickle.loads(pickle.dumps(P(1))) == P(1)"
        )
        self.assertEqual(self.run_cell(code)["text"], "True")

    def test_source_of_a_cell_is_known_to_inspect(self):
        code = "import inspect\ndef f():\n    return 1\ninspect.getsource(f)"
        self.assertEqual(self.run_cell(code)["text"], repr("def f():\n    return 1\n"))

    def test_helper_name_is_gone_from_a_kept_namespace(self):
        self.run_cell("1", kept=True)
        self.assertEqual(self.run_cell(f"{cell.SHOW!r} in [*globals()]", kept=True)["text"], "True")
        self.run_cell("names = sorted(globals())", kept=True)
        self.assertNotIn(cell.SHOW, self.session._kept.__dict__)


class Errors(CellTest):
    def error(self, code, **how):
        envelope = self.run_cell(code, **how)
        self.assertEqual(envelope["status"], "error")
        return envelope["error"]

    def test_traceback_has_the_users_lines_with_their_text_and_no_others(self):
        error = self.error("import json\ndef f(x):\n    return json.loads(x)\n\nf('{')")
        self.assertEqual((error["class"], error["line"]), ("json.decoder.JSONDecodeError", 3))
        self.assertIn("File \"<cell>\", line 5, in <module>\n    f('{')", error["traceback"])
        self.assertIn("return json.loads(x)", error["traceback"])
        self.assertNotIn("decoder.py", error["traceback"])
        self.assertNotIn("cell.py", error["traceback"])

    def test_functions_of_earlier_kept_cells_show_their_own_lines(self):
        self.run_cell("def f():\n    return 1 / 0", kept=True)
        error = self.error("# other text\nf()", kept=True)
        self.assertIn('File "<cell 1>", line 2, in f\n    return 1 / 0', error["traceback"])

    def test_syntax_error_has_line_column_and_caret(self):
        error = self.error("x = 1\ny = (2 +* 3)")
        self.assertEqual((error["class"], error["line"], error["column"]), ("SyntaxError", 2, 9))
        self.assertIn("    y = (2 +* 3)\n" + " " * 12 + "^", error["traceback"])

    def test_syntax_error_while_running_is_placed_at_the_users_line(self):
        error = self.error("\neval('1 +')")
        self.assertEqual((error["class"], error["line"]), ("SyntaxError", 2))

    def test_cause_is_told_first(self):
        error = self.error("try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError('bad') from e")
        first, second = error["traceback"].split("direct cause")
        self.assertIn("ZeroDivisionError: division by zero", first)
        self.assertIn("ValueError: bad", second)

    def test_context_is_told_unless_suppressed(self):
        code = "try:\n    1 / 0\nexcept Exception:\n    raise ValueError('bad'){}"
        self.assertIn("ZeroDivisionError", self.error(code.format(""))["traceback"])
        self.assertNotIn("ZeroDivisionError", self.error(code.format(" from None"))["traceback"])

    def test_cause_that_leads_back_to_itself_ends(self):
        code = "a, b = ValueError('a'), ValueError('b')\na.__cause__, b.__cause__ = b, a\nraise a"
        self.assertEqual(self.error(code)["message"], "a")

    def test_recursion_error_is_short(self):
        error = self.error("def f(n):\n    return f(n + 1)\nf(0)")
        self.assertEqual(error["class"], "RecursionError")
        self.assertIn("more times", error["traceback"])
        self.assertLess(len(error["traceback"]), 2_000)

    def test_error_whose_text_raises_is_told_all_the_same(self):
        code = "class E(Exception):\n    def __str__(self):\n        raise SystemExit('no')\nraise E()"
        error = self.error(code)
        self.assertEqual((error["class"], error["line"]), ("E", 4))
        self.assertIn("SystemExit", error["message"])

    def test_notes_of_an_error_are_shown(self):
        error = self.error("e = ValueError('a')\ne.__notes__ = ['see here']\nraise e")
        self.assertTrue(error["traceback"].endswith("ValueError: a\nsee here"))

    def test_system_exit_is_an_error_unless_it_means_success(self):
        self.assertEqual(self.error("import sys\nsys.exit(3)")["message"], "3")
        for code in ("import sys\nsys.exit()", "raise SystemExit(0)"):
            self.assertEqual(self.run_cell(code)["status"], "ok")

    def test_keyboard_interrupt_of_the_users_own_is_an_error_and_no_cancel(self):
        self.assertEqual(self.error("raise KeyboardInterrupt")["class"], "KeyboardInterrupt")

    def test_very_long_messages_are_cut(self):
        error = self.error("raise ValueError('x' * 1_000_000)")
        self.assertLess(len(error["message"]), 5_000)
        self.assertLess(len(error["traceback"]), 30_000)

    def test_output_before_an_error_is_kept(self):
        self.assertEqual(self.run_cell("print('before')\n1 / 0")["stdout"], "before\n")

    def test_error_of_a_repr_is_at_the_users_line(self):
        error = self.error("class R:\n    def __repr__(self):\n        return 1 / 0\n\nR()")
        self.assertEqual(error["line"], 3)


class Warned(CellTest):
    def test_warnings_are_kept_apart_once_each(self):
        code = "import warnings\nfor i in range(9):\n    warnings.warn(f'w{i % 2}')"
        envelope = self.run_cell(code)
        self.assertEqual(envelope["warnings"], ["UserWarning: w0 (line 3)", "UserWarning: w1 (line 3)"])
        self.assertEqual(envelope["stderr"], "")

    def test_at_most_twenty_warnings(self):
        code = "import warnings\nfor i in range(50):\n    warnings.warn(f'w{i}')"
        self.assertEqual(len(self.run_cell(code)["warnings"]), cell.WARNING_LIMIT)

    def test_filters_stay_in_a_kept_namespace_and_leave_with_a_fresh_one(self):
        ignore, warn = (
            "import warnings\nwarnings.simplefilter('ignore')",
            "import warnings\nwarnings.warn('w')",
        )
        self.run_cell(ignore)
        self.assertEqual(len(self.run_cell(warn)["warnings"]), 1)
        self.run_cell(ignore, kept=True)
        self.assertEqual(self.run_cell(warn, kept=True)["warnings"], [])


class Captured(CellTest):
    def test_python_c_and_subprocess_text_arrive_in_order(self):
        code = (
            "import os, subprocess, sys\nprint('a')\nos.write(1, b'b\\n')\nsubprocess.run(['echo', 'c'])\n"
            "print('d', end='')\nprint('e', file=sys.stderr)"
        )
        envelope = self.run_cell(code)
        self.assertEqual((envelope["stdout"], envelope["stderr"]), ("a\nb\nc\nd", "e\n"))

    def test_buffered_c_text_is_flushed_before_the_cell_ends(self):
        code = "import ctypes\nctypes.CDLL(None).printf(b'from C')"
        self.assertEqual(self.run_cell(code + "\nNone")["stdout"], "from C")

    def test_head_and_tail_of_too_much_text_are_kept(self):
        capture = streams.Capture(limit=1_000)
        text = self.run_cell("for i in range(200_000): print(i)", capture=capture)["stdout"]
        self.assertTrue(text.startswith("0\n1\n"))
        self.assertTrue(text.endswith("199998\n199999\n"))
        self.assertIn("bytes left out", text)
        self.assertLess(len(text), 1_100)

    def test_disk_use_is_bounded(self):
        capture = streams.Capture(limit=1_000)
        seen = []

        def watch():
            return seen.append(os.fstat(1).st_blocks * 512)

        code = (
            "import time\nchunk = 'x' * (1 << 20)\n"
            "for _ in range(64):\n    print(chunk)\n    time.sleep(0.02)\nwatch()"
        )
        envelope = self.run_cell(code, capture=capture, provide=lambda: {"watch": watch})
        self.assertEqual(envelope["status"], "ok")
        self.assertLess(seen[0], 48 << 20)

    def test_text_is_told_while_the_cell_runs(self):
        told = []
        capture = streams.Capture(emit=lambda name, text: told.append((name, text)))
        code = (
            "import time\nprint('now')\nend = time.time() + 5\n"
            "while not told and time.time() < end: time.sleep(0.01)\nbool(told)"
        )
        self.assertEqual(self.run_cell(code, capture=capture, provide=lambda: {"told": told})["text"], "True")
        self.assertEqual(told[0], ("stdout", "now\n"))

    def test_descriptors_that_user_code_closed_or_replaced_are_back(self):
        before = [(os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in (0, 1, 2)]
        for code in (
            "import os\nos.close(1); os.close(2); os.close(0)",
            "import os\nos.dup2(os.open('/dev/null', os.O_RDWR), 1)",
            "import sys\nsys.stdout = sys.stderr = None",
            "import sys\nsys.stdout.close(); sys.stderr.close()",
            "import sys\nsys.stdout = open('/dev/null', 'w')",
        ):
            with self.subTest(code):
                self.run_cell(code)
                after = [(os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in (0, 1, 2)]
                self.assertEqual(after, before)
                self.assertEqual(self.run_cell("print('still')")["stdout"], "still\n")

    def test_standard_streams_of_the_carrier_are_the_same_objects_afterwards(self):
        before = (sys.stdin, sys.stdout, sys.stderr)
        self.run_cell("import sys\nsys.stdout = None")
        self.assertEqual((sys.stdin, sys.stdout, sys.stderr), before)

    def test_cell_reads_nothing_of_the_carriers_input(self):
        self.assertEqual(self.run_cell("input()")["error"]["class"], "EOFError")

    def test_no_descriptor_is_left_open(self):
        self.run_cell("1")
        before = len(list(Path("/dev/fd").iterdir()))
        for _ in range(5):
            self.run_cell("print(1)")
        self.assertEqual(len(list(Path("/dev/fd").iterdir())), before)

    def test_forged_envelope_is_text(self):
        line = cell.frame("0" * 32, {"status": "ok"})
        envelope = self.run_cell(f"print({line!r}, end='')\n1 / 0")
        self.assertEqual((envelope["stdout"], envelope["status"]), (line, "error"))

    def test_invalid_bytes_do_not_break_the_answer(self):
        self.assertEqual(self.run_cell("import os\nos.write(1, b'\\xff\\n')\nNone")["stdout"], "\ufffd\n")
        self.assertEqual(self.run_cell("print('\\ud800')")["stdout"], "\\ud800\n")


class Surroundings(CellTest):
    def test_threads_left_behind_do_no_harm(self):
        code = (
            "import threading, time\ndef work():\n    time.sleep(0.05)\n    display('late')\n"
            "threading.Thread(target=work).start()"
        )
        self.assertEqual(self.run_cell(code)["status"], "ok")
        with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and not thread.daemon:
                    thread.join()
        self.assertEqual(self.run_cell("1")["text"], "1")

    def test_signal_handlers_timers_and_hooks_are_put_back(self):
        before = signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGINT), sys.getrecursionlimit()
        self.run_cell(
            "import signal, sys\nsignal.signal(signal.SIGALRM, lambda *_: 1 / 0)\n"
            "signal.signal(signal.SIGINT, signal.SIG_IGN)\nsignal.setitimer(signal.ITIMER_REAL, 0.02)\n"
            "sys.setrecursionlimit(90)\nsys.settrace(lambda *_: None)\nsys.excepthook = None"
        )
        time.sleep(0.05)
        after = signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGINT), sys.getrecursionlimit()
        self.assertEqual(after, before)
        self.assertIs(sys.excepthook, sys.__excepthook__)

    def test_replaced_library_functions_do_not_reach_the_answer(self):
        import base64 as base64_module

        kept = json.dumps, json.JSONEncoder.encode, os.dup2, os.close
        try:
            envelope = self.run_cell("import json, os\njson.dumps = None\nos.dup2 = os.close = None\n1")
        finally:
            json.dumps, json.JSONEncoder.encode, os.dup2, os.close = kept
        self.assertEqual(envelope["text"], "1")
        self.assertIsNotNone(base64_module)

    def test_forked_child_does_not_answer(self):
        code = "import os\nif os.fork() == 0:\n    print('child')\nelse:\n    os.wait()\n    print('parent')"
        self.assertEqual(self.run_cell(code)["stdout"], "child\nparent\n")

    def test_os_exit_ends_the_process_without_an_answer(self):
        script = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\nimport test_cell as t\n"
            "c = t.CellTest(); c.setUp(); c.run_cell('import os; os._exit(7)'); print('answered')"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (7, b""))

    def test_cancel_reaches_user_code_only(self):
        previous = signal.getsignal(signal.SIGINT)

        def on_interrupt(_signal, frame):
            if cell.in_user_section(frame):
                self.session.interrupt()

        signal.signal(signal.SIGINT, on_interrupt)
        try:
            signal.raise_signal(signal.SIGINT)
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            envelope = self.run_cell("while True: pass")
        finally:
            signal.signal(signal.SIGINT, previous)
        self.assertEqual((envelope["status"], envelope["error"]["class"]), ("cancelled", "KeyboardInterrupt"))


class Cells(unittest.TestCase):
    """values.py without any package."""

    def test_dates_beyond_what_python_holds(self):
        cases = {
            0: "1970-01-01",
            -719162: "0001-01-01",
            -719163: "0000-12-31",
            2932897: "+10000-01-01",
            -719529: "-0001-12-31",
        }
        self.assertEqual({days: values.date_text(days) for days in cases}, cases)

    def test_every_day_of_the_range_agrees_with_python_by_both_ways(self):
        for ordinal in (1, 60, 366, 146_097, 730_120, 3_652_059):
            expected = dt.date.fromordinal(ordinal).isoformat()
            shifted = values.date_text(ordinal - 719_163 + 146_097 * 100)
            self.assertEqual(shifted[-6:], expected[-6:])
            self.assertEqual(int(shifted[:-6]), int(expected[:4]) + 40_000)

    def test_instants_carry_the_offset_of_their_zone(self):
        berlin = values.zone_of("+01:00")
        self.assertEqual(values.timestamp_text(0, 1, berlin), "1970-01-01 01:00:00+01:00")
        self.assertEqual(values.timestamp_text(1, 10**6, None), "1970-01-01 00:00:00.000001")
        self.assertEqual(values.timestamp_text(-1, 10**9, None), "1969-12-31 23:59:59.999999999")
        self.assertEqual(values.timestamp_text(253402300800, 1, berlin), "+10000-01-01 01:00:00+01:00")

    def test_zones_have_several_spellings(self):
        for name in ("+08:00", "GMT+8", "UTC+08:00", "+0800"):
            self.assertEqual(values.zone_of(name).utcoffset(None), dt.timedelta(hours=8))
        self.assertEqual(values.zone_of("no/such zone").utcoffset(dt.datetime(2020, 1, 1)), dt.timedelta(0))

    def test_floats_are_numbers_or_named(self):
        cells = [values.float_cell(value) for value in (1.5, float("nan"), float("inf"), float("-inf"))]
        self.assertEqual(cells, [1.5, "NaN", "Infinity", "-Infinity"])
        self.assertEqual(values.float32_cell(0.10000000149011612), 0.1)
        self.assertEqual(values.float32_cell(3.4028234663852886e38), 3.4028235e38)

    def test_python_values_have_exact_cells(self):
        big = decimal.Decimal("1E+3")
        cases = [
            (2**70, 2**70),
            (True, True),
            (big, "1000"),
            (dt.date(1, 1, 1), "0001-01-01"),
            (dt.datetime(2020, 1, 2, 3, 4, 5, 6), "2020-01-02 03:04:05.000006"),
            (dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc), "2020-01-02 00:00:00+00:00"),
            (dt.timedelta(days=1, microseconds=1), "1 00:00:00.000001"),
            (b"ab", "YWI="),
            ({"k": [1, None]}, {"k": [1, None]}),
            ({1: "x"}, [[1, "x"]]),
            ((1, 2), [1, 2]),
        ]
        for value, expected in cases:
            self.assertEqual(values.value_cell(value), expected)

    def test_doubled_names_become_pairs(self):
        self.assertEqual(values.pairs_cell([("x", 1), ("x", 2)]), [["x", 1], ["x", 2]])

    def test_types_of_python_values_merge_or_become_text(self):
        cases = {
            "bigint": [1, None],
            "double": [1, 2.5],
            "string": [1, "x"],
            "decimal(4,3)": [decimal.Decimal("1.10"), decimal.Decimal("2.345")],
            "void": [None, float("nan")],
            "array<bigint>": [[1], [], None],
            "decimal(22,0)": [2**70, 1],
            "map<string,double>": [{"a": 1.0}],
        }
        self.assertEqual(
            {kind: values.merged_type(found) for kind, found in cases.items()}, {kind: kind for kind in cases}
        )


class ClassicRows(unittest.TestCase):
    """The way without Arrow, on a stand-in for a classic Spark frame."""

    @staticmethod
    def frame(fields, rows):
        """`fields`: name, class of Spark's type, its text, its attributes."""

        def kind(name, text="", **attributes):
            return type(name, (), {"simpleString": lambda _: text, **attributes})()

        class DataFrame:
            isStreaming = False
            columns = tuple(name for name, *_ in fields)
            schema = type(
                "S",
                (),
                {
                    "fields": [
                        type("F", (), {"name": name, "dataType": kind(of, text, **attributes)})()
                        for name, of, text, attributes in fields
                    ]
                },
            )
            sparkSession = type("P", (), {"conf": {"spark.sql.session.timeZone": "+02:00"}})

            def limit(self, _):
                return object()

            def take(self, most):
                return rows[:most]

        DataFrame.__module__ = "pyspark.sql.dataframe"
        return DataFrame(), kind

    def test_rows_of_classic_spark_become_exact_cells(self):
        instant = dt.datetime.fromtimestamp(1_577_836_800.5)
        fields = [("t", "TimestampType", "timestamp", {}), ("d", "DecimalType", "decimal(5,2)", {})]
        frame, _ = self.frame(fields, [(instant, decimal.Decimal("1.10")), (None, None), (None, None)])
        table = tables.table_of(frame, tables.Budget(2, 1_000))
        self.assertEqual([column["type"] for column in table["columns"]], ["timestamp", "decimal(5,2)"])
        self.assertEqual(table["rows"], [("2020-01-01 02:00:00.500000+02:00", "1.10"), (None, None)])
        self.assertTrue(table["truncated"])

    def test_nested_values_of_classic_spark_are_read_by_their_types(self):
        instant = dt.datetime.fromtimestamp(1_577_836_800.5)
        clock = dt.datetime(2020, 1, 1, 3, 4, 5, 6)
        narrow = struct.unpack("f", struct.pack("f", 0.1))[0]
        _, kind = self.frame([], [])
        members = [("f", kind("FloatType"), narrow), ("n", kind("TimestampNTZType"), clock)]
        members += [("t", kind("TimestampType"), instant)]
        of_struct = {"fields": [type("F", (), {"name": n, "dataType": k})() for n, k, _ in members]}
        fields = [
            ("f", "FloatType", "float", {}),
            ("a", "ArrayType", "array<float>", {"elementType": kind("FloatType")}),
            (
                "m",
                "MapType",
                "map<string,float>",
                {"keyType": kind("StringType"), "valueType": kind("FloatType")},
            ),
            ("s", "StructType", "struct<f:float,n:timestamp_ntz,t:timestamp>", of_struct),
            ("n", "TimestampNTZType", "timestamp_ntz", {}),
            ("b", "BinaryType", "binary", {}),
        ]
        row = (
            narrow,
            [narrow, None],
            {"k": narrow},
            tuple(v for _, _, v in members),
            clock,
            bytearray(b"ab"),
        )
        frame, _ = self.frame(fields, [row])
        instant_text = "2020-01-01 02:00:00.500000+02:00"
        expected = (
            0.1,
            [0.1, None],
            {"k": 0.1},
            {"f": 0.1, "n": "2020-01-01 03:04:05.000006", "t": instant_text},
            "2020-01-01 03:04:05.000006",
            "YWI=",
        )
        self.assertEqual(tables.table_of(frame, tables.Budget(2, 1_000))["rows"], [expected])


@needs("pandas")
class Pandas(CellTest):
    def column(self, expression):
        table = self.rows(
            f"import datetime as dt, decimal, numpy as np, pandas as pd\npd.DataFrame({{'c': {expression}}})"
        )
        return table["columns"][0]["type"], [row[0] for row in table["rows"]]

    def test_columns_keep_their_type_and_values(self):
        cases = [
            ("['a', None, float('nan')]", "string", ["a", None, None]),
            ("[1, 'x', None]", "string", ["1", "x", None]),
            ("pd.Categorical(['x', None])", "string", ["x", None]),
            ("pd.Categorical([1, None])", "bigint", [1, None]),
            ("pd.to_datetime(['2020-07-01', None]).tz_localize('Europe/Berlin')", "timestamp",
             ["2020-07-01 00:00:00+02:00", None]),
            ("pd.to_datetime(['2020-01-01 00:00:00.123456789', None])", "timestamp_ntz",
             ["2020-01-01 00:00:00.123456789", None]),
            ("pd.to_timedelta(['1 days 00:00:01', None])", "interval day to second", ["1 00:00:01", None]),
            ("[decimal.Decimal('1.10'), None]", "decimal(3,2)", ["1.10", None]),
            ("[1.5, np.nan, -np.inf]", "double", [1.5, "NaN", "-Infinity"]),
            ("np.array([0.1], dtype='float32')", "float", [0.1]),
            ("pd.array([1, None, 2**60], dtype='Int64')", "bigint", [1, None, 2**60]),
            ("pd.array([True, None], dtype='boolean')", "boolean", [True, None]),
            ("np.array([2**64 - 1], dtype='uint64')", "decimal(20,0)", ["18446744073709551615"]),
            ("[dt.date(1, 1, 1), None]", "date", ["0001-01-01", None]),
            ("[[1, 2], None]", "array<bigint>", [[1, 2], None]),
            ("[b'a', None]", "binary", ["YQ==", None]),
        ]  # fmt: skip
        for expression, kind, cells in cases:
            with self.subTest(expression):
                self.assertEqual(self.column(expression), (kind, cells))

    def test_index_worth_showing_leads_the_columns(self):
        table = self.rows(
            "import pandas as pd\n"
            "index = pd.MultiIndex.from_tuples([('x', 1), ('y', 2)], names=['p', None])\n"
            "pd.DataFrame({'a': [1, 2]}, index=index)"
        )
        self.assertEqual([column["name"] for column in table["columns"]], ["p", "level_1", "a"])
        self.assertEqual((table["index"], table["rows"]), (2, [("x", 1, 1), ("y", 2, 2)]))

    def test_plain_index_is_not_shown_and_names_may_be_doubled(self):
        table = self.rows("import pandas as pd\npd.DataFrame([[1, 2]], columns=['a', 'a'])")
        self.assertIsNone(table["index"])
        self.assertEqual([column["name"] for column in table["columns"]], ["a", "a"])

    def test_series_is_a_table_and_display_adds_one(self):
        envelope = self.run_cell(
            "import pandas as pd\ns = pd.Series([1], name='n')\ndisplay(s, s.to_frame())\ns"
        )
        self.assertEqual([table["columns"][0]["name"] for table in envelope["tables"]], ["n", "n", "n"])

    def test_rows_stop_at_both_limits(self):
        code = "import pandas as pd\npd.DataFrame({'a': range(1_000_000)})"
        table = self.rows(code)
        self.assertEqual((len(table["rows"]), table["truncated"]), (100, True))
        table = self.rows(code, max_bytes=20)
        self.assertEqual((len(table["rows"]), table["truncated"]), (5, True))

    def test_table_that_fits_exactly_is_not_called_truncated(self):
        self.assertFalse(self.rows("import pandas as pd\npd.DataFrame({'a': range(100)})")["truncated"])


@needs("pyarrow")
class Arrow(CellTest):
    def test_arrow_tables_are_exact(self):
        table = self.rows(
            "import pyarrow as pa\npa.table({"
            "'m': pa.array([[('k', 1)], None], pa.map_(pa.string(), pa.int32())),"
            "'s': pa.array([{'x': 1}, None]),"
            "'e': pa.array(['a', None]).dictionary_encode(),"
            "'l': pa.array([[1], []], pa.large_list(pa.int8())),"
            "'t': pa.array([1, None], pa.timestamp('ns', tz='+01:00')),"
            "'d': pa.array([-719163, None], pa.date32()),"
            "'u': pa.array([2**64 - 1, None], pa.uint64())})"
        )
        types = [
            "map<string,int>",
            "struct<x:bigint>",
            "string",
            "array<tinyint>",
            "timestamp",
            "date",
            "decimal(20,0)",
        ]
        self.assertEqual([column["type"] for column in table["columns"]], types)
        first = (
            {"k": 1},
            {"x": 1},
            "a",
            [1],
            "1970-01-01 01:00:00.000000001+01:00",
            "0000-12-31",
            str(2**64 - 1),
        )
        self.assertEqual(table["rows"], [first, (None, None, None, [], None, None, None)])


@needs("matplotlib")
class Figures(CellTest):
    def test_open_figures_are_valid_png_and_closed(self):
        envelope = self.run_cell("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nNone")
        figure = envelope["figures"][0]
        data = base64.b64decode(figure["data"])
        self.assertEqual(data[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(data[-8:-4], b"IEND")
        self.assertLess(len(data), 300_000)
        self.assertGreater(figure["width"], 200)
        self.assertEqual(self.run_cell("import matplotlib.pyplot as plt\nplt.get_fignums()")["text"], "[]")

    def test_figure_is_shown_once_and_also_after_an_error(self):
        code = "import matplotlib.pyplot as plt\nf = plt.figure()\ndisplay(f)\n1 / 0"
        envelope = self.run_cell(code)
        self.assertEqual((envelope["status"], len(envelope["figures"])), ("error", 1))

    def test_figures_beyond_the_limit_are_named(self):
        envelope = self.run_cell(
            "import matplotlib.pyplot as plt\nfor _ in range(4): plt.figure()", max_figures=2
        )
        self.assertEqual(len(envelope["figures"]), 2)
        self.assertIn("only the first 2 figures are shown", envelope["warnings"])

    def test_noisy_figure_is_drawn_smaller(self):
        code = (
            "import numpy as np, matplotlib.pyplot as plt\n"
            "plt.imshow(np.random.default_rng(1).random((900, 900, 3)), interpolation='nearest')\nNone"
        )
        self.assertLess(len(base64.b64decode(self.run_cell(code)["figures"][0]["data"])), 300_000)


class Shipping(unittest.TestCase):
    def test_harness_imports_the_standard_library_only(self):
        script = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\nimport test_cell, json\n"
            "print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
        )
        done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, check=True)
        loaded = set(json.loads(done.stdout))
        self.assertEqual(loaded & {"pandas", "pyarrow", "numpy", "pyspark", "matplotlib"}, set())

    def test_c_library_is_found_for_flushing(self):
        self.assertIsNotNone(streams._fflush)
        self.assertEqual(ctypes.CDLL(None).fflush(None), 0)


if __name__ == "__main__":
    unittest.main()
